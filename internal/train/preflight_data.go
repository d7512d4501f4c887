package train

import (
	"slices"

	"gimbal/internal/data"
)

const (
	walkedLabels  = 1 << 18 // of each side that are read one by one
	walkedBatches = 64
	windowBytes   = 256     // of text that a held-out window spells, so that it hardly stands elsewhere by chance
	windowTokens  = 32      // of it, at least
	maxWindows    = 512     // that are looked for,
	scannedLabels = 8 << 20 // in so many labels of the training part
	muchOverlap   = 0.1     // of the windows
	manyCopies    = 0.05    // of the documents
	manyDocuments = 20      // of which some must end in the training part
)

// walk reads the sequences of a side in order, a bounded number, and calls visit with each.
func (p *preflight) walk(sp *data.Split, visit func(b *data.Batch, span data.Span) bool) {
	var b data.Batch
	labels := 0
	for i := int64(0); i < sp.Sequences() && labels < walkedLabels; i++ {
		b.Reset()
		p.read(sp, &b, i)
		labels += len(b.Labels)
		if len(b.Spans) != 1 || !visit(&b, b.Spans[0]) {
			return
		}
	}
}

// checkLabels reads what is learned from: each label must be the token that is read next, and some must count.
func (p *preflight) checkLabels() finding {
	var fault finding
	counted, seen := 0, 0
	for _, sp := range []*data.Split{p.corpus.train, p.corpus.val} {
		p.walk(sp, func(b *data.Batch, s data.Span) bool {
			for i, label := range b.Labels {
				if i+1 < len(b.Tokens) && label != b.Tokens[i+1] {
					fault = found(resultError, "%s: label %d of a sequence is %d and the token that follows is %d: labels are shifted", p.corpus.set.Describe(s.Doc), i, label, b.Tokens[i+1]).
						do("the model would learn something else than the next token; report it with the run's config.toml")
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
		return found(resultError, "none of %d labels counts in the loss", seen).do("look at what the documents mark as not to be learned")
	}
	return found(resultOK, "%d labels are the tokens that follow, and %d of them count", seen, counted).
		with(map[string]float64{"labels": float64(seen), "counted": float64(counted)})
}

// checkEOS counts the ends of documents: an end is the last label of its document and stands nowhere else, and some
// document must end in the training part, or the model never learns to stop.
func (p *preflight) checkEOS() finding {
	var fault finding
	eos, ends := p.corpus.tok.EOS(), int64(0)
	for _, sp := range []*data.Split{p.corpus.train, p.corpus.val} {
		var before data.Ref
		ended, first := true, true
		p.walk(sp, func(b *data.Batch, s data.Span) bool {
			if s.Doc != before && !first && !ended {
				fault = found(resultError, "%s does not end in an EOS label", p.corpus.set.Describe(before)).
					do("the model would never learn where a text ends; report it with the run's config.toml")
				return false
			}
			for i, label := range b.Labels {
				if label == eos && i+1 < len(b.Labels) {
					fault = found(resultError, "%s: an EOS label stands inside of a sequence", p.corpus.set.Describe(s.Doc)).
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
	train, val := p.corpus.train, p.corpus.val
	numbers := map[string]float64{"train_eos": float64(train.EOS()), "val_eos": float64(val.EOS()), "train_labels": float64(train.Tokens())}
	switch {
	case train.EOS() > 0 && ends == 0 && train.Chunked() < int64(train.Documents()):
		return found(resultError, "%d documents end in the training part, and no label read is an EOS", train.EOS()).
			do("the model would never learn where a text ends; report it with the run's config.toml").with(numbers)
	case train.EOS() == 0 && train.Documents() >= manyDocuments:
		return found(resultError, "none of %d documents ends in the training part", train.Documents()).
			do("the model would never learn where a text ends; report it with the run's config.toml").with(numbers)
	case train.EOS() == 0:
		return found(resultInfo, "no document ends in the training part: the model will not learn to stop").
			do("where the text has parts, cut it with data.separator").with(numbers)
	}
	return found(resultOK, "%d documents end in the training part and %d in the validation part, one EOS label in %.0f", train.EOS(), val.EOS(),
		float64(train.Tokens())/float64(train.EOS())).with(numbers)
}

// checkOverlap looks for held-out text in the training part: pieces of the validation part, spread evenly, that stand
// in the training part word for word.
func (p *preflight) checkOverlap() finding {
	train, val := p.corpus.train, p.corpus.val
	tokens := windowTokens
	if perToken := float64(val.Bytes()) / float64(max(1, val.Tokens())); perToken > 0 {
		tokens = max(tokens, int(windowBytes/perToken))
	}
	windows := p.heldOut(tokens)
	if len(windows) == 0 {
		return found(resultSkipped, "no held-out document has the %d tokens of a piece", tokens)
	}
	all, scanned := len(windows), int64(0)
	for labels := range head(train.Labels(), scannedLabels) {
		scanned += int64(len(labels))
		eachWindow(labels, tokens, func(hash uint64, at int) {
			if w, ok := windows[hash]; ok && slices.Equal(w, labels[at:at+tokens]) {
				delete(windows, hash)
			}
		})
	}
	hits := all - len(windows)
	share := float64(hits) / float64(all)
	numbers := map[string]float64{"windows": float64(all), "found": float64(hits), "window_tokens": float64(tokens), "scanned": float64(scanned)}
	if share > muchOverlap {
		return found(resultWarning, "%d of %d held-out pieces of %d tokens stand in the training part, too: the validation loss will look too good", hits, all, tokens).
			do("take repeated text out, or cut the text into documents, of which exact copies stay on one side").with(numbers)
	}
	return found(resultOK, "%d of %d held-out pieces of %d tokens stand in %d labels of the training part", hits, all, tokens, scanned).with(numbers)
}

// heldOut returns pieces of the validation part of so many tokens by their hash: at places that are spread evenly over its
// text, each inside of a document.
func (p *preflight) heldOut(tokens int) map[uint64][]int32 {
	val, windows := p.corpus.val, map[uint64][]int32{}
	total := int64(0)
	for k := range val.Documents() {
		_, n := val.Document(k)
		total += n
	}
	k, before := 0, int64(0) // the document and the tokens before it
	for i := range int64(maxWindows) {
		at := i*(total/maxWindows) + i*(total%maxWindows)/maxWindows
		_, n := val.Document(k)
		for at >= before+n {
			before += n
			k++
			_, n = val.Document(k)
		}
		if n < int64(tokens) {
			continue
		}
		lo := min(at-before, n-int64(tokens))
		w := val.AppendText(nil, k, lo, lo+int64(tokens))
		windows[hashOf(w)] = w
	}
	return windows
}

// windowBase is an odd number whose powers make a rolling hash.
const windowBase = 0x9E3779B97F4A7C15

func hashOf(ids []int32) (h uint64) {
	for _, id := range ids {
		h = h*windowBase + uint64(id) + 1
	}
	return h
}

// eachWindow calls visit with the hash and the place of every run of so many ids.
func eachWindow(ids []int32, size int, visit func(hash uint64, at int)) {
	if len(ids) < size {
		return
	}
	top := uint64(1)
	for range size - 1 {
		top *= windowBase
	}
	h := hashOf(ids[:size])
	visit(h, 0)
	for i := size; i < len(ids); i++ {
		h = (h-(uint64(ids[i-size])+1)*top)*windowBase + uint64(ids[i]) + 1
		visit(h, i-size+1)
	}
}

// checkDuplicates counts documents that are copies of others.
func (p *preflight) checkDuplicates() finding {
	c := p.corpus.set.Copies()
	numbers := map[string]float64{"documents": float64(c.Documents), "copies": float64(c.Copies), "crossing": float64(c.Crossing)}
	switch {
	case c.Crossing > 0:
		return found(resultWarning, "%d held-out documents have a copy in the training part: the validation loss will look too good", c.Crossing).
			do("take the copies out").with(numbers)
	case float64(c.Copies) > manyCopies*float64(c.Documents):
		return found(resultWarning, "%d of %d documents are copies of others, %s", c.Copies, c.Documents, "which are learned by heart sooner than the rest").
			do("take the copies out").with(numbers)
	}
	return found(resultOK, "%d of %d documents are copies of others", c.Copies, c.Documents).with(numbers)
}

// checkSampler follows the batches of the run: no sequence may come twice in an epoch, and no batch may be empty.
func (p *preflight) checkSampler() finding {
	type place struct {
		doc   data.Ref
		first int64
	}
	n := p.corpus.train.Sequences()
	seen, labels := map[place]bool{}, 0
	var b data.Batch
	cur, batches := (data.Cursor{}), 0
	for ; batches < walkedBatches && labels < walkedLabels && cur.Seq < n; batches++ {
		before := cur.Seq
		cur = p.next(&b, cur)
		if len(b.Spans) == 0 || b.Counted == 0 || cur.Seq == before {
			return found(resultError, "batch %d has %d sequences and %d labels that count", batches, len(b.Spans), b.Counted).do("report it with the run's config.toml")
		}
		for i, s := range b.Spans {
			if before+int64(i) >= n {
				break // the next epoch has begun
			}
			at := place{s.Doc, s.First}
			if seen[at] {
				return found(resultError, "%s, token %d: a sequence comes twice in an epoch", p.corpus.set.Describe(s.Doc), s.First).do("report it with the run's config.toml")
			}
			seen[at] = true
		}
		labels += len(b.Labels)
	}
	return found(resultOK, "%d sequences in %d batches, none twice", len(seen), batches).with(map[string]float64{"sequences": float64(len(seen)), "batches": float64(batches)})
}
