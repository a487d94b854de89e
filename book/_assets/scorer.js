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
    if (/^(notebooks\/|idea|glossary|your-)/.test(page)) return 2;
    return 1;
  },
};
