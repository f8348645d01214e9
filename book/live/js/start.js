// Start every figure of this kind that has not been started. The scripts of the figure stand where the comment is.
(() => {
  const start = (root, stage, data, ready) => {
    /* figure */
  };
  for (const root of document.querySelectorAll('[data-vae="FIGURE"]:not([data-state])')) {
    root.dataset.state = "starting";
    const stage = root.querySelector(".vae-stage");
    const fail = (error) => {
      root.dataset.state = "failed"; // the still picture stays
      stage.hidden = true;
      throw error;
    };
    try {
      if (!document.createElement("canvas").getContext) throw new Error("this browser has no canvas");
      const data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
      start(root, stage, data, () => {
        root.dataset.state = "ready";
        stage.hidden = false;
      });
    } catch (error) {
      fail(error);
    }
  }
})();
