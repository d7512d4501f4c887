package evaluate

// Names of metrics in the record of an evaluation. Those of what is written are the judge's.
const (
	MetricLoss   = "val_loss"
	MetricLossLo = MetricLoss + "_lo" // 95 % interval
	MetricLossHi = MetricLoss + "_hi"
	MetricTokens = "val_tokens"      // labels behind val_loss
	MetricSample = "val_loss_sample" // nats per token on the sample that every evaluation scores

	MetricTexts   = "texts"         // that were written
	MetricCounted = "texts_counted" // of them, those long enough to be measured
	MetricAlarms  = "alarms"        // metrics that differ from people's
)

// Metric is a metric of what is written, as tables show it.
type Metric struct{ Name, What string }

// shownMetrics are the metrics that tables show, in their order. docs/judge.md defines each.
var shownMetrics = []Metric{
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

// Metrics are the metrics of what is written that tables show, in their order.
func Metrics() []Metric { return append([]Metric(nil), shownMetrics...) }

// MetricNames are the names of Metrics.
func MetricNames() (names []string) {
	for _, m := range shownMetrics {
		names = append(names, m.Name)
	}
	return names
}
