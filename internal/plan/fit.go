package plan

import (
	"fmt"
	"math"
	"strings"

	"gimbal/internal/config"
	"gimbal/internal/data"
)

const (
	fitUpdates   = 8  // updates that a pass over a small text should have
	fitTokens    = 16 // of the smallest batch, and of the shortest context, that are chosen for one
	plannedSmall = "planned: the text has %d tokens to train on"
)

// fit lowers train.batch_tokens and train.context for a text that is smaller than one batch, unless somebody set them.
func (d *Draft) fit(have int64) error {
	cfg := d.Config
	t := cfg.Train
	if have >= int64(t.BatchTokens) || have < fitTokens {
		return nil
	}
	batch, context := t.BatchTokens, t.Context
	if free(cfg, "train.batch_tokens") {
		batch = fitTokens
		for int64(2*batch*fitUpdates) <= have {
			batch *= 2
		}
		batch = max(batch, t.MicroTokens)
		if !free(cfg, "train.context") {
			batch = max(batch, context)
		}
	}
	if free(cfg, "train.context") {
		context = min(context, batch)
	}
	var told []string
	for _, k := range []struct {
		key      string
		was, now int
	}{{"train.context", t.Context, context}, {"train.batch_tokens", t.BatchTokens, batch}} {
		if k.now >= k.was {
			continue
		}
		if err := cfg.SetPlanned(k.key, k.now, fmt.Sprintf(plannedSmall, have)); err != nil {
			return err
		}
		told = append(told, fmt.Sprintf("%s is %d instead of %d", k.key, k.now, k.was))
	}
	if told != nil {
		d.warnings = append(d.warnings, fmt.Sprintf("the text has only %d tokens to train on: %s", have,
			strings.Join(told, ", ")))
	}
	return nil
}

// free reports whether nobody but a preset has set a key.
func free(cfg *config.Config, key string) bool {
	return cfg.Origin(key) == "default" || strings.HasPrefix(cfg.Origin(key), "preset ")
}

// unused names the settings that do nothing. fresh: no weights are loaded.
func unused(cfg *config.Config, set *data.Set, fresh bool) (notes []string) {
	if key := "eval.keep"; fresh && !free(cfg, key) {
		notes = append(notes, fmt.Sprintf("%s (%s) is not used: fresh weights know nothing yet", key, cfg.Origin(key)))
	}
	for _, key := range []string{"adapter.rank", "adapter.alpha", "adapter.targets", "adapter.rslora",
		"adapter.dropout", "adapter.dora", "adapter.base"} {
		if cfg.Train.Adapter == "none" && !free(cfg, key) {
			notes = append(notes, fmt.Sprintf("%s (%s) is not used: train.adapter is none", key, cfg.Origin(key)))
		}
	}
	for _, key := range []string{"dpo.beta", "dpo.label_smoothing"} {
		if cfg.Train.Objective != "dpo" && !free(cfg, key) {
			notes = append(notes, fmt.Sprintf("%s (%s) is not used: train.objective is lm", key, cfg.Origin(key)))
		}
	}
	if key := "data.val_fraction"; set.SplitBy == "name" && !free(cfg, key) {
		notes = append(notes, fmt.Sprintf("%s (%s) is not used: %s", key, cfg.Origin(key), set.SplitNote))
	}
	if key := "train.budget"; !free(cfg, key) && cfg.Train.Steps != 0 && !cfg.Auto("train.steps") &&
		!strings.HasPrefix(cfg.Origin("train.steps"), "planned") {
		notes = append(notes, fmt.Sprintf("%s (%s) is not used: train.steps (%s) says how long the run is", key,
			cfg.Origin(key), cfg.Origin("train.steps")))
	}
	if key := "data.separator"; cfg.Data.Separator != "" && len(cfg.Data.Paths) == 0 {
		notes = append(notes, fmt.Sprintf("%s (%s) is not used: each of the Go sources is a document", key,
			cfg.Origin(key)))
	}
	return notes
}

// setAbove lists the keys of tokens that somebody has set to more than there are.
func setAbove(cfg *config.Config, have int64) string {
	var list []string
	for _, k := range []struct {
		key   string
		value int
	}{{"train.context", cfg.Train.Context}, {"train.micro_tokens", cfg.Train.MicroTokens},
		{"train.batch_tokens", cfg.Train.BatchTokens}} {
		origin := cfg.Origin(k.key)
		if int64(k.value) > have && !free(cfg, k.key) && !strings.HasPrefix(origin, "planned") {
			list = append(list, k.key+" ("+origin+")")
		}
	}
	return strings.Join(list, ", ")
}

// enough checks that there is something to train and to validate on, and says how much is missing. With little, one
// label to train on will do.
func enough(cfg *config.Config, t *data.Text, little bool) error {
	least, have := int64(cfg.Train.BatchTokens), t.Train.Tokens()
	switch {
	case little:
		least = 1
	case cfg.Origin("train.batch_tokens") == "default":
		least = min(least, fitTokens)
	}
	switch {
	case have < least:
		census := t.Set.Census()
		perToken := float64(census.TextBytes) / float64(max(1, census.Tokens))
		missing, advice := float64(least-have)*perToken, ""
		if t.Set.SplitBy == "name" {
			advice = " to it; " + t.Set.SplitNote
		} else {
			missing /= 1 - cfg.Data.ValFraction
		}
		if keys := setAbove(cfg, have); keys != "" && have >= fitTokens {
			advice += fmt.Sprintf(", or lower %s to at most %d", keys, have)
		}
		return fmt.Errorf("%w: too little text: %d tokens to train on, and %d are needed: add about %d bytes%s",
			data.ErrUnusable, have, least, int64(math.Ceil(missing)), advice)
	case t.Val.Counted() == 0:
		return fmt.Errorf("%w: too little text: %d tokens to train on, and none to validate on that counts: %s",
			data.ErrUnusable, have, t.Set.SplitNote)
	}
	return nil
}
