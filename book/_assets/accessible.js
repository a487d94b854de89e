// What is larger than its box scrolls there, and then the Tab key reaches it
function reachScrollingBoxes() {
  for (const box of document.querySelectorAll(".bd-article *")) {
    const wide = box.scrollWidth > box.clientWidth;
    const tall = box.scrollHeight > box.clientHeight;
    const { overflowX, overflowY } = wide || tall ? getComputedStyle(box) : {};
    if ((wide && /auto|scroll/.test(overflowX)) || (tall && /auto|scroll/.test(overflowY))) {
      box.tabIndex = 0;
    }
  }
}

// The theme leaves the logo and the search button of the sidebar outside every landmark
addEventListener("DOMContentLoaded", () => {
  const sidebar = document.getElementById("pst-primary-sidebar");
  sidebar?.setAttribute("role", "complementary");
  sidebar?.setAttribute("aria-label", "Book");
});

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachScrollingBoxes();
  addEventListener("resize", reachScrollingBoxes);
  addEventListener("toggle", reachScrollingBoxes, true);
});
