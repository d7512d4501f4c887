package preflight

import (
	"context"
	"fmt"
	"slices"

	"gimbal/internal/data"
	"gimbal/internal/engine"
	"gimbal/internal/runlog"
)

const (
	walkedLabels  = 1 << 18 // most labels of each side that are read
	walkedBatches = 64
	muchOverlap   = 0.1  // of the held-out runs
	longRun       = 64   // bytes of a run, so that it hardly occurs elsewhere by chance
	manyCopies    = 0.05 // of the documents
	manyDocuments = 20   // of so many, some must end in the training part
)

const adviceEnds = "the model would never learn where a text ends; " + adviceReport

// walk reads a bounded number of sequences of a side in order, each as a pass of its own, and returns the first fault
// that visit finds.
func (c *checker) walk(sp *data.Split, visit func(in engine.Input, span data.Span) finding) (fault finding) {
	var b data.Batch
	labels := 0
	for i := int64(0); i < sp.Sequences() && labels < walkedLabels && fault.Result == ""; i++ {
		b.Reset()
		c.read(sp, &b, i)
		labels += len(b.Labels)
		if len(b.Spans) != 1 && !sp.Pairs() {
			break
		}
		for _, s := range b.Spans {
			if fault.Result == "" {
				fault = visit(engine.SequenceInput(&b, s), s)
			}
		}
	}
	return fault
}

// checkLabels reads the labels: each must be the next token, and some must count.
func (c *checker) checkLabels(context.Context) finding {
	counted, seen := 0, 0
	for _, side := range []*data.Split{c.Text.Train, c.Text.Val} {
		fault := c.walk(side, func(b engine.Input, s data.Span) finding {
			for i, label := range b.Labels {
				if i+1 < len(b.Tokens) && label != b.Tokens[i+1] {
					return found(resultError, "%s: label %d of a sequence is %d and the next token is %d: labels are shifted",
						c.Text.Set.Describe(s.Doc), i, label, b.Tokens[i+1]).
						do("the model would not learn to predict the next token; " + adviceReport)
				}
				if b.Counts[i] {
					counted++
				}
			}
			seen += len(b.Labels)
			return finding{}
		})
		if fault.Result != "" {
			return fault
		}
	}
	if counted == 0 {
		return found(resultError, "none of %s counts in the loss", plural(seen, "label")).
			do("check which parts of the documents are marked as not trained on")
	}
	return found(resultOK, "all %d labels are the next tokens, and %d of them count", seen, counted).
		with(map[string]float64{"labels": float64(seen), "counted": float64(counted)})
}

// checkEOS counts the ends of documents. An EOS must be the last label of each document and occur nowhere else. Some
// document must end in the training part, or the model never learns to stop.
func (c *checker) checkEOS(context.Context) finding {
	eos, ends := c.Text.Tok.EOS(), int64(0)
	chat := c.stats.Census.Conversations > 0 // some tokenizers end every turn with it
	for _, side := range []*data.Split{c.Text.Train, c.Text.Val} {
		var before data.Span
		ended, first := true, true
		fault := c.walk(side, func(b engine.Input, s data.Span) finding {
			if s.Index != before.Index && !first && !ended {
				return found(resultError, "%s does not end in an EOS label",
					c.Text.Set.Describe(before.Doc)).do(adviceEnds)
			}
			if !chat && slices.Contains(b.Labels[:len(b.Labels)-1], eos) {
				return found(resultError, "%s: a sequence has an EOS label before its end", c.Text.Set.Describe(s.Doc)).
					do("nothing may follow the end; search the document for the text of the EOS token")
			}
			before, first = s, false
			if ended = b.Labels[len(b.Labels)-1] == eos; ended {
				ends++
			}
			return finding{}
		})
		if fault.Result != "" {
			return fault
		}
	}
	train, val := c.Text.Train, c.Text.Val
	numbers := map[string]float64{"train_eos": float64(train.EOS()), "val_eos": float64(val.EOS()),
		"train_labels": float64(train.Tokens())}
	switch {
	case train.EOS() > 0 && ends == 0 && train.Chunked() < int64(train.Documents()):
		return found(resultError, "%s should end in the training part, but no label that was read is an EOS",
			plural(train.EOS(), "document")).do(adviceEnds).with(numbers)
	case train.EOS() == 0 && train.Documents() >= manyDocuments:
		return found(resultError, "none of %d documents ends in the training part", train.Documents()).
			do(adviceEnds).with(numbers)
	case train.EOS() == 0:
		return found(resultInfo, "no document ends in the training part: the model will not learn to stop").
			do("if the text has parts, split it with data.separator").with(numbers)
	}
	return found(resultOK, "EOS labels: %d in the training part, one label in %.0f, and %d in the validation part",
		train.EOS(), float64(train.Tokens())/float64(train.EOS()), val.EOS()).with(numbers)
}

// checkOverlap looks for held-out text in the training part, word for word.
func (c *checker) checkOverlap(context.Context) finding {
	st := c.stats
	if st.Runs == 0 {
		return found(resultSkipped, "no held-out document is as long as a run of %d tokens", data.RunTokens)
	}
	share, spelled := float64(st.SharedRuns)/float64(st.Runs), data.RunTokens*st.Census.BytesPerToken()
	f := found(resultOK, "held-out runs of %d tokens that are also in the training part: %d of %d", data.RunTokens,
		st.SharedRuns, st.Runs)
	switch {
	case share > muchOverlap && spelled >= longRun:
		f.Result = resultWarning
		f.Message += "; the validation loss will look better than it is"
		f.Advice = "remove repeated text, or split the text into documents, whose exact copies stay on one side"
	case share > muchOverlap:
		f.Result = resultInfo
		f.Message += fmt.Sprintf("; but a run has only %.0f bytes", spelled)
	}
	return f.with(map[string]float64{"runs": float64(st.Runs), "shared": float64(st.SharedRuns), "run_bytes": spelled})
}

// checkDuplicates counts documents that are copies of others.
func (c *checker) checkDuplicates(context.Context) finding {
	st := c.stats
	documents := st.Census.Documents - st.Census.Empty
	if st.Pairs {
		documents /= 2
	}
	numbers := map[string]float64{"documents": float64(documents), "copies": float64(st.Duplicates),
		"crossing": float64(st.Overlap)}
	f := found(resultOK, "documents that are copies of others: %d of %d; held out with a copy in the training part: %d",
		st.Duplicates, documents, st.Overlap)
	switch {
	case st.Overlap > 0:
		f.Message += "; the validation loss will look better than it is"
	case float64(st.Duplicates) > manyCopies*float64(documents):
		f.Message += "; the model will memorize them"
	default:
		return f.with(numbers)
	}
	f.Result, f.Advice = resultWarning, "remove the copies"
	return f.with(numbers)
}

// checkSampler draws the first batches of the run: no sequence may come twice in an epoch, and no batch may be empty.
func (c *checker) checkSampler(context.Context) finding {
	type place struct {
		doc   int
		first int64
	}
	each := 1 // spans of a sequence
	if c.Text.Train.Pairs() {
		each = 2
	}
	n := c.Text.Train.Sequences()
	seen, labels := map[place]bool{}, 0
	var b data.Batch
	cur, batches := data.Cursor{}, 0
	for ; batches < walkedBatches && labels < walkedLabels && cur.Seq < n; batches++ {
		before := cur.Seq
		cur = c.next(int64(batches)+1, &b, cur)
		if len(b.Spans) == 0 || b.Counted == 0 || cur.Seq == before {
			return found(resultError, "batch %d has sequences: %d, and labels that count: %d", batches, len(b.Spans),
				b.Counted).do(adviceReport)
		}
		for i, s := range b.Spans {
			if before+int64(i/each) >= n {
				break // the next epoch has begun
			}
			at := place{s.Index, s.First}
			// Sequences that are passed over have no place in the batch: one that ends in the next epoch says nothing.
			// A mixture repeats its smaller paths.
			if seen[at] && cur.Seq <= n && c.stats.Mixture == nil {
				return found(resultError, "%s, token %d: a sequence comes twice in an epoch",
					c.Text.Set.Describe(s.Doc), s.First).do(adviceReport)
			}
			seen[at] = true
		}
		labels += len(b.Labels)
	}
	return found(resultOK, "%s in %d batches, none twice", plural(len(seen), "sequence"), batches).
		with(map[string]float64{"sequences": float64(len(seen)), "batches": float64(batches)})
}

// checkData passes on what was found in the files and documents: a check for each.
func (c *checker) checkData() (checks []runlog.Check) {
	for _, f := range c.Text.Findings() {
		result := resultInfo
		if f.Warn {
			result = resultWarning
		}
		checks = append(checks, runlog.Check{Code: "P-DATA", Result: result, Message: f.Text, Advice: f.Advice})
	}
	if checks == nil {
		checks = []runlog.Check{{Code: "P-DATA", Result: resultOK, Message: "nothing was left out, and nothing is strange"}}
	}
	return checks
}
