// Of results that match alike, a class comes before a function: who looks for "CLUB" wants `CLUBEstimator` and not `club`.
var Scorer = {
  score: ([document, title, anchor, description, score]) =>
    /^api\/names\/.*\.[A-Z]\w*$/.test(document) ? score + 20 : score,
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
