package judge

// Shown is a metric as tables show it.
type Shown struct{ Name, What string }

// Tabulated are the metrics of what a model writes, in the order in which tables show them; docs/judge.md defines each.
var Tabulated = []Shown{
	{"rep3", "share of 3-grams that come again in a text"},
	{"rep4", "share of 4-grams that come again in a text"},
	{"loop", "longest loop, tokens"},
	{"distinct2", "share of different 2-grams in all texts"},
	{"distinct3", "share of different 3-grams in all texts"},
	{"compression", "compression ratio of all texts"},
	{"self_bleu", "Self-BLEU"},
	{"consistency", "prompt consistency C"},
	{"within", "likeness of texts of one prompt, W"},
	{"between", "likeness of texts of different prompts, X"},
	{"topic", "how much nearer the end of a text is to its own prompt"},
	{"unknown_words", "share of words that the training text does not have"},
	{"unbalanced", "unmatched brackets and quotes in 100 tokens"},
	{"ngram_nats", "nats per token by n-grams of the training text"},
	{"garbled", "share of texts above people's n-gram band"},
	{"predictable", "share of texts below it"},
	{"parses", "share that the Go parser accepts"},
	{"finish_rate", "share of texts that come to an end"},
	{"short_rate", "share of texts too short to be measured"},
	{"length", "tokens of a text"},
	{"match", "longest match with the training text, tokens"},
	{"novel5", "share of 5-grams that the training text does not have"},
	{"copied", "share of texts that are copied"},
}

// MetricNames are the names of Tabulated, in their order.
func MetricNames() (names []string) {
	for _, m := range Tabulated {
		names = append(names, m.Name)
	}
	return names
}
