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
	free := func(key string) bool {
		return cfg.Origin(key) == "default" || strings.HasPrefix(cfg.Origin(key), "preset ")
	}
	batch, context := t.BatchTokens, t.Context
	if free("train.batch_tokens") {
		batch = fitTokens
		for int64(2*batch*fitUpdates) <= have {
			batch *= 2
		}
		batch = max(batch, t.MicroTokens)
		if !free("train.context") {
			batch = max(batch, context)
		}
	}
	if free("train.context") {
		context = min(context, batch)
	}
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
		d.notes = append(d.notes, fmt.Sprintf("%s is %d instead of %d: the text has only %d tokens to train on", k.key, k.now,
			k.was, have))
	}
	return nil
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
		missing := int64(math.Ceil(float64(least-have) * perToken / (1 - cfg.Data.ValFraction)))
		advice := ""
		if have >= fitTokens {
			advice = fmt.Sprintf(", or lower train.batch_tokens (%s) to at most %d", cfg.Origin("train.batch_tokens"), have)
		}
		return fmt.Errorf("%w: too little text: %d tokens to train on, and %d are needed: add about %s%s", data.ErrUnusable,
			have, least, BytesText(missing), advice)
	case t.Val.Counted() == 0:
		return fmt.Errorf("%w: too little text: %d tokens to train on, and none to validate on that counts: %s",
			data.ErrUnusable, have, t.Set.SplitNote)
	}
	return nil
}
