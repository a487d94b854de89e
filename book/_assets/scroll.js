// Whatever scrolls inside its own box can be reached and scrolled with the keyboard, too.
const BOXES = ".bd-article :is(pre, .cell_output, .pst-scrollable-table-container, div.math, figure)";

function reach() {
  for (const box of document.querySelectorAll(BOXES)) {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    const style = getComputedStyle(box);
    if (scrolls && /auto|scroll/.test(style.overflowX + style.overflowY)) box.tabIndex = 0;
    else if (box.tabIndex === 0) box.removeAttribute("tabindex");
  }
}

addEventListener("load", reach);
addEventListener("resize", reach);
addEventListener("toggle", reach, true);
