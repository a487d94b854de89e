// Chromium has no floats of pages: a figure that does not fit leaves the rest of its sheet empty.
// Columns as large as a sheet's text show where sheets will end, and such a figure goes below the
// text that follows it in its section.

const EMPTY = 0.12; // part of a sheet that may stay empty above a figure
const SHORT_PX = 115; // between five lines and six
const TEXT = "p, ul, ol";

const endsIn = (block, marks) => marks.test(block.textContent.trim());

function shown(block, side) {
  do block = block[side];
  while (block && !block.getClientRects().length);
  return block;
}

// Part of the sheet before that stays empty, none if a block does not begin a sheet
function emptyAbove(block, sheet) {
  const above = [...(shown(block, "previousElementSibling")?.getClientRects() ?? [])].at(-1);
  const begins = above && block.getClientRects()[0].left - above.left > sheet.width / 2;
  return begins ? (sheet.bottom - above.bottom) / sheet.height : 0;
}

function float(figure, sheet) {
  const block = figure.closest(".cell") ?? figure;
  const section = block.parentNode;
  let least = emptyAbove(block, sheet);
  let place = block.nextSibling;
  let text = shown(block, "nextElementSibling");
  while (least > EMPTY && text?.matches(TEXT)) {
    text.after(block);
    const next = shown(block, "nextElementSibling");
    const between = endsIn(text, /[.?!]\W*$/) && !next?.matches("div.math");
    const empty = emptyAbove(block, sheet);
    if (between && empty < least) {
      least = empty;
      place = block.nextSibling;
    }
    text = next;
  }
  section.insertBefore(block, place);
}

addEventListener("load", async () => {
  await window.MathJax?.startup?.promise;
  document.body.classList.add("measured");
  for (const text of document.querySelectorAll("section > p, li > p")) {
    text.classList.toggle("lead-in", endsIn(text, /:$/));
    text.classList.toggle("short", text.offsetHeight < SHORT_PX);
  }
  for (const chapter of document.querySelectorAll(".chapter")) {
    chapter.classList.add("sheets");
    const sheet = chapter.getBoundingClientRect();
    for (const figure of chapter.querySelectorAll("figure")) {
      float(figure, sheet);
    }
    chapter.classList.remove("sheets");
  }
  document.body.classList.remove("measured");
});
