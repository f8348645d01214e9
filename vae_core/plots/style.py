"""Colours and labels, the same in every figure."""

COLORS = {"reconstruction": "#0072b2", "kl_prior": "#d55e00", "kl_posterior": "#009e73", "likelihood": "#333333"}
LABELS = {
    "reconstruction": r"$\mathbb{E}_q[\log\,p(x|z)]$",
    "kl_prior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z))$",
    "kl_posterior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z|x))$",
    "likelihood": r"$\log\,p(x)$",
}
FORWARD, GRADIENT, BOX = "#333333", "#cc3311", "#f2f2f2"
