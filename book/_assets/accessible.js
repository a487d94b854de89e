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

// What a word or a symbol means appears at it, for the pointer, the keyboard and the finger alike
function explainWords() {
  const told = document.body.appendChild(document.createElement("div"));
  told.id = "meaning";
  told.setAttribute("role", "tooltip");
  told.hidden = true;
  let shown = null;
  const hide = () => {
    shown?.removeAttribute("aria-describedby");
    shown = null;
    told.hidden = true;
  };
  const show = (link) => {
    if (shown === link) return;
    hide();
    shown = link;
    told.textContent = link.dataset.meaning;
    told.hidden = false;
    link.setAttribute("aria-describedby", told.id);
    const place = link.getClientRects()[0];
    const left = Math.min(place.left, document.documentElement.clientWidth - told.offsetWidth - 8);
    const below = place.bottom + told.offsetHeight + 8 < innerHeight;
    told.style.left = `${Math.max(8, left) + scrollX}px`;
    told.style.top = `${(below ? place.bottom + 4 : place.top - told.offsetHeight - 4) + scrollY}px`;
  };
  for (const link of document.querySelectorAll(".bd-article a:is(.word, .symbol)[title]")) {
    link.dataset.meaning = link.title;
    if (link.matches(".symbol")) link.setAttribute("aria-label", link.title);
    link.removeAttribute("title");
    link.addEventListener("pointerenter", (event) => event.pointerType === "touch" || show(link));
    link.addEventListener("pointerleave", (event) => event.pointerType === "touch" || hide());
    link.addEventListener("focus", () => link.matches(":focus-visible") && show(link));
    link.addEventListener("blur", hide);
    // a first tap tells, a second one follows the link
    link.addEventListener("click", (event) => {
      if (event.pointerType !== "touch" || shown === link) return;
      event.preventDefault();
      show(link);
    });
  }
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("pointerdown", (event) => event.target.closest?.("a") === shown || hide());
}

// A link to an equation in a folded part opens it
function openTarget() {
  const target = document.getElementById(location.hash.slice(1));
  const button = target?.closest(".toggle-hidden")?.querySelector(".toggle-button");
  button?.click();
  if (button) target.scrollIntoView();
}

// The theme leaves the logo and the search button of the sidebar outside every landmark
addEventListener("DOMContentLoaded", () => {
  const sidebar = document.getElementById("pst-primary-sidebar");
  sidebar?.setAttribute("role", "complementary");
  sidebar?.setAttribute("aria-label", "Book");
  explainWords();
});

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  reachScrollingBoxes();
  openTarget();
  addEventListener("hashchange", openTarget);
  addEventListener("resize", reachScrollingBoxes);
  addEventListener("toggle", reachScrollingBoxes, true);
});
