// What is larger than its box scrolls there; only then it takes part in the order of the Tab key
const BOXES =
  ".bd-article :is(div.math, mjx-container, figure, pre, .cell_output, .pst-scrollable-table-container)";

function reachScrollingBoxes() {
  for (const box of document.querySelectorAll(BOXES)) {
    const { overflowX, overflowY } = getComputedStyle(box);
    const larger = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (larger && /auto|scroll/.test(overflowX + overflowY)) box.tabIndex = 0;
    else if (box.tabIndex === 0) box.removeAttribute("tabindex");
  }
}

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachScrollingBoxes();
  addEventListener("resize", reachScrollingBoxes);
  addEventListener("toggle", reachScrollingBoxes, true);
});
