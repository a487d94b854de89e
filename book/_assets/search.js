// How search orders what it finds: chapters and pages that explain come before names of the API
// eslint-disable-next-line no-unused-vars -- Sphinx reads it
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
  // far apart, so that the kind of page goes first and what was found there second
  score: ([page, , , , score]) => score + 1000 * Scorer.kind(page),
  kind: (page) => {
    if (/^api/.test(page)) return 0;
    if (/^(index$|notebooks\/|idea|glossary|provenance|your-)/.test(page)) return 2;
    return 1;
  },
};

// Search fetches excerpts page by page, which browsers refuse on pages opened from a disk
if (location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// What an excerpt is taken from: sentences, without contents, buttons, code and TeX
addEventListener("DOMContentLoaded", () => {
  const whole = Search.htmlToText;
  Search.htmlToText = (html, anchor) => {
    const article = new DOMParser().parseFromString(html, "text/html").querySelector("article");
    if (!article) return whole(html, anchor);
    article.querySelectorAll(".headerlink, .math, .cell_input, .cell_output, .highlight, script, style, svg").forEach((one) => one.remove());
    const found = anchor ? article.querySelector(anchor) : null;
    const parts = found?.matches("dt") ? [found, found.nextElementSibling] : [found ?? article];
    return parts.map((one) => one.textContent).join(": ").replace(/\s+/g, " ");
  };
});

// Pages for several words: those that have many of them, first those with words that few pages have,
// or that stand in a title. Captured, so that it is there before the page's own search begins
const rareWordsFirst = () => {
  const having = Search.performTermsSearch;
  Search.performTermsSearch = (words, excluded) => {
    if (words.size < 2) return having(words, excluded);
    const pages = new Map();
    for (const word of words) {
      const found = having(new Set([word]), excluded);
      for (const [page, title, anchor, about, score, ...rest] of found) {
        const worth = (score < Scorer.title ? 1 : 2) / Math.sqrt(found.length);
        pages.set(page, [page, title, anchor, about, (pages.get(page)?.[4] ?? 0) + worth, ...rest]);
      }
    }
    const best = Math.max(...[...pages.values()].map((page) => page[4]));
    return [...pages.values()].filter((page) => page[4] > best / 2);
  };
};
addEventListener("DOMContentLoaded", rareWordsFirst, { capture: true });
