// What is wider than its box scrolls; only then it takes part in the order of the Tab key
const BOXES = ".bd-article :is(div.math, mjx-container, figure, pre, .cell_output, .pst-scrollable-table-container)";

function reachScrollingBoxes() {
  for (const box of document.querySelectorAll(BOXES)) {
    const scrolls = /auto|scroll/.test(getComputedStyle(box).overflowX) && box.scrollWidth > box.clientWidth;
    if (scrolls) box.tabIndex = 0;
    else if (box.tabIndex === 0) box.removeAttribute("tabindex");
  }
}

window.addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachScrollingBoxes();
  window.addEventListener("resize", reachScrollingBoxes);
});
