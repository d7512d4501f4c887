package data

// joint is text of a conversation that is encoded as one, of which parts count.
type joint struct {
	text  []byte
	parts []run // bytes
}

func (h *joint) add(text []byte, learn bool) {
	h.text = append(h.text, text...)
	if last := len(h.parts) - 1; last >= 0 && h.parts[last].learn == learn {
		h.parts[last].n += int64(len(text))
		return
	}
	h.parts = append(h.parts, run{int64(len(text)), learn})
}

// endJoint encodes the text. A token counts if a part of it does.
func (e *encoder) endJoint(q *piece) error {
	h := &e.joint
	if len(h.text) == 0 {
		return nil
	}
	have := len(q.ids)
	ids, err := e.whole(q.ids, h.text)
	if err != nil {
		return err
	}
	q.ids = ids
	var spelled int64
	for _, id := range ids[have:] {
		spelled += int64(e.lengths[id])
	}
	e.doc.Tokens += int64(len(ids) - have)
	e.doc.Bytes += spelled
	ends, err := e.partEnds(spelled)
	if err != nil {
		return err
	}
	at, k := int64(0), 0
	for _, id := range ids[have:] {
		end, learn := at+int64(e.lengths[id]), false
		for ; ; k++ { // the parts that the token has something of
			learn = learn || h.parts[k].learn && (k == 0 || ends[k-1] < end) && at < ends[k]
			if k > 0 && h.parts[k].learn && at < ends[k-1] && ends[k-1] < end {
				q.seams++
			}
			if k == len(ends)-1 || ends[k] > end {
				break
			}
		}
		q.add(1, learn)
		at = end
	}
	h.text, h.parts = h.text[:0], h.parts[:0]
	e.begin()
	return nil
}

// partEnds returns where the parts end in what the tokens of the text spell. That is where they end in the text, unless
// the tokenizer writes text in another way; then it is what the text up to there would spell.
func (e *encoder) partEnds(spelled int64) (ends []int64, err error) {
	at := int64(0)
	for _, p := range e.joint.parts {
		at += p.n
		end := at
		if spelled != int64(len(e.joint.text)) {
			ids, err := e.whole(nil, e.joint.text[:at])
			if err != nil {
				return nil, err
			}
			end = 0
			for _, id := range ids {
				end += int64(e.lengths[id])
			}
		}
		ends = append(ends, end)
	}
	return ends, nil
}

// whole appends the tokens of a text.
func (e *encoder) whole(dst []int32, text []byte) ([]int32, error) {
	if e.begun {
		e.enc.Behind()
	}
	dst, err := e.enc.Write(dst, text)
	if err != nil {
		e.enc.Reset()
		return dst, err
	}
	return e.enc.Flush(dst)
}
