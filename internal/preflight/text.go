package preflight

import (
	"context"
	"fmt"

	"gimbal/internal/data"
)

const (
	walkedLabels  = 1 << 18 // of each side that are read one by one
	walkedBatches = 64
	muchOverlap   = 0.1  // of the held-out runs
	longRun       = 64   // bytes that a run must spell, so that it hardly stands elsewhere by chance
	manyCopies    = 0.05 // of the documents
	manyDocuments = 20   // of which some must end in the training part
)

const adviceEnds = "the model would never learn where a text ends; " + adviceReport

// walk reads the sequences of a side in order, a bounded number, and calls visit with each.
func (c *checker) walk(sp *data.Split, visit func(b *data.Batch, span data.Span) bool) {
	var b data.Batch
	labels := 0
	for i := int64(0); i < sp.Sequences() && labels < walkedLabels; i++ {
		b.Reset()
		c.read(sp, &b, i)
		labels += len(b.Labels)
		if len(b.Spans) != 1 || !visit(&b, b.Spans[0]) {
			return
		}
	}
}

// checkLabels reads what is learned from: each label must be the token that is read next, and some must count.
func (c *checker) checkLabels(context.Context) finding {
	var fault finding
	counted, seen := 0, 0
	for _, side := range []*data.Split{c.Text.Train, c.Text.Val} {
		c.walk(side, func(b *data.Batch, s data.Span) bool {
			for i, label := range b.Labels {
				if i+1 < len(b.Tokens) && label != b.Tokens[i+1] {
					fault = found(resultError, "%s: label %d of a sequence is %d and the token that follows is %d: "+
						"labels are shifted", c.Text.Set.Describe(s.Doc), i, label, b.Tokens[i+1]).
						do("the model would learn something else than the next token; " + adviceReport)
					return false
				}
				if b.Counts[i] {
					counted++
				}
			}
			seen += len(b.Labels)
			return true
		})
	}
	switch {
	case fault.result != "":
		return fault
	case counted == 0:
		return found(resultError, "none of %d labels counts in the loss", seen).
			do("look at what the documents mark as not to be learned")
	}
	return found(resultOK, "%d labels are the tokens that follow, and %d of them count", seen, counted).
		with(map[string]float64{"labels": float64(seen), "counted": float64(counted)})
}

// checkEOS counts the ends of documents: an end is the last label of its document and stands nowhere else, and some
// document must end in the training part, or the model never learns to stop.
func (c *checker) checkEOS(context.Context) finding {
	var fault finding
	eos, ends := c.Text.Tok.EOS(), int64(0)
	chat := c.stats.Census.Conversations > 0 // some tokenizers close every turn with it
	for _, side := range []*data.Split{c.Text.Train, c.Text.Val} {
		var before data.Ref
		ended, first := true, true
		c.walk(side, func(b *data.Batch, s data.Span) bool {
			if s.Doc != before && !first && !ended {
				fault = found(resultError, "%s does not end in an EOS label", c.Text.Set.Describe(before)).do(adviceEnds)
				return false
			}
			for i, label := range b.Labels {
				if label == eos && i+1 < len(b.Labels) && !chat {
					fault = found(resultError, "%s: an EOS label stands inside of a sequence", c.Text.Set.Describe(s.Doc)).
						do("nothing may be predicted after the end; look for the EOS token's own text in the document")
					return false
				}
			}
			before, first = s.Doc, false
			if ended = b.Labels[len(b.Labels)-1] == eos; ended {
				ends++
			}
			return true
		})
		if fault.result != "" {
			return fault
		}
	}
	train, val := c.Text.Train, c.Text.Val
	numbers := map[string]float64{"train_eos": float64(train.EOS()), "val_eos": float64(val.EOS()),
		"train_labels": float64(train.Tokens())}
	switch {
	case train.EOS() > 0 && ends == 0 && train.Chunked() < int64(train.Documents()):
		return found(resultError, "%d documents end in the training part, and no label read is an EOS", train.EOS()).
			do(adviceEnds).with(numbers)
	case train.EOS() == 0 && train.Documents() >= manyDocuments:
		return found(resultError, "none of %d documents ends in the training part", train.Documents()).
			do(adviceEnds).with(numbers)
	case train.EOS() == 0:
		return found(resultInfo, "no document ends in the training part: the model will not learn to stop").
			do("where the text has parts, cut it with data.separator").with(numbers)
	}
	return found(resultOK, "%d documents end in the training part and %d in the validation part, one EOS label in %.0f",
		train.EOS(), val.EOS(), float64(train.Tokens())/float64(train.EOS())).with(numbers)
}

// checkOverlap looks for held-out text in the training part, word for word.
func (c *checker) checkOverlap(context.Context) finding {
	st := c.stats
	if st.Runs == 0 {
		return found(resultSkipped, "no held-out document has the %d tokens of a run", data.RunTokens)
	}
	share, spelled := float64(st.SharedRuns)/float64(st.Runs), data.RunTokens*st.Census.BytesPerToken()
	f := found(resultOK, "%d of %d held-out runs of %d tokens stand in the training part, too", st.SharedRuns, st.Runs,
		data.RunTokens)
	switch {
	case share > muchOverlap && spelled >= longRun:
		f.result = resultWarning
		f.message += ": the validation loss will look better than it is"
		f.advice = "take repeated text out, or cut the text into documents: exact copies of one stay on one side"
	case share > muchOverlap:
		f.result = resultInfo
		f.message += fmt.Sprintf(", but a run spells only %.0f bytes", spelled)
	}
	return f.with(map[string]float64{"runs": float64(st.Runs), "shared": float64(st.SharedRuns), "run_bytes": spelled})
}

// checkDuplicates counts documents that are copies of others.
func (c *checker) checkDuplicates(context.Context) finding {
	st := c.stats
	documents := st.Census.Documents - st.Census.Empty
	f := found(resultOK, "%d of %d documents are copies of others, %d of them held out and in the training part",
		st.Duplicates, documents, st.Overlap)
	switch {
	case st.Overlap > 0:
		f = found(resultWarning, "%d held-out documents have a copy in the training part: the validation loss will "+
			"look better than it is", st.Overlap).do("take the copies out")
	case float64(st.Duplicates) > manyCopies*float64(documents):
		f = found(resultWarning, "%d of %d documents are copies of others: they will be learned by heart",
			st.Duplicates, documents).do("take the copies out")
	}
	return f.with(map[string]float64{"documents": float64(documents), "copies": float64(st.Duplicates),
		"crossing": float64(st.Overlap)})
}

// checkSampler follows the batches of the run: no sequence may come twice in an epoch, and no batch may be empty.
func (c *checker) checkSampler(context.Context) finding {
	type place struct {
		doc   data.Ref
		first int64
	}
	n := c.Text.Train.Sequences()
	seen, labels := map[place]bool{}, 0
	var b data.Batch
	cur, batches := data.Cursor{}, 0
	for ; batches < walkedBatches && labels < walkedLabels && cur.Seq < n; batches++ {
		before := cur.Seq
		cur = c.next(int64(batches)+1, &b, cur)
		if len(b.Spans) == 0 || b.Counted == 0 || cur.Seq == before {
			return found(resultError, "batch %d has %d sequences and %d labels that count", batches, len(b.Spans),
				b.Counted).do(adviceReport)
		}
		for i, s := range b.Spans {
			if before+int64(i) >= n {
				break // the next epoch has begun
			}
			at := place{s.Doc, s.First}
			if seen[at] && c.stats.Mixture == nil { // a mixture passes over its smaller paths more than once
				return found(resultError, "%s, token %d: a sequence comes twice in an epoch",
					c.Text.Set.Describe(s.Doc), s.First).do(adviceReport)
			}
			seen[at] = true
		}
		labels += len(b.Labels)
	}
	return found(resultOK, "%d sequences in %d batches, none twice", len(seen), batches).
		with(map[string]float64{"sequences": float64(len(seen)), "batches": float64(batches)})
}
