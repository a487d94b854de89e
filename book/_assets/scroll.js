// Whatever scrolls inside its own box can be reached and scrolled with the keyboard, too.
function reach() {
  for (const box of document.querySelectorAll(".bd-article *")) {
    const wide = box.scrollWidth > box.clientWidth;
    const tall = box.scrollHeight > box.clientHeight;
    const { overflowX, overflowY } = wide || tall ? getComputedStyle(box) : {};
    if ((wide && /auto|scroll/.test(overflowX)) || (tall && /auto|scroll/.test(overflowY))) {
      box.tabIndex = 0;
    }
  }
}

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reach();
});
addEventListener("resize", reach);
addEventListener("toggle", reach, true);
