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
