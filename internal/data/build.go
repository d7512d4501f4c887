package data

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/shards"
	"gimbal/internal/tokenizer"
)

// noPlace is an error of the folder in which a cache is read or made, and not of the text.
type noPlace struct{ error }

func (e *noPlace) Unwrap() error { return e.error }

// buildCache makes a cache that is missing or damaged.
func buildCache(ctx context.Context, c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions,
	key string) (m *shards.Manifest, err error) {
	defer func() {
		user, advice := (*Error)(nil), ""
		if err == nil || errors.As(err, &user) || ctx.Err() != nil {
			return
		}
		if errors.Is(err, durable.ErrNoSpace) {
			advice = "; free some space, or let XDG_CACHE_HOME name another disk"
		}
		err = &noPlace{fmt.Errorf("data: write token cache in %s: %w%s", opt.CacheDir, err, advice)}
	}()
	return opt.folder().Build(key, spec(c, tok, opt), func(w *shards.Writer) error {
		b := builder{w: w}
		t, err := tokenise(ctx, c, tok, opt, b.take)
		if err != nil {
			return err
		}
		w.Census.Read = *t
		return usable(&w.Census)
	})
}

// usable refuses a corpus without text, or with too many documents.
func usable(c *shards.Census) error {
	if c.Tokens == 0 {
		note := ""
		if left := skipped(&c.Read); len(left) > 0 {
			note = " (skipped: " + strings.Join(left, ", ") + ")"
		}
		if c.Read.FirstBad != "" {
			note += ", the first broken one: " + c.Read.FirstBad
		}
		return &corpus.Error{What: "the corpus has no text" + note,
			Advice: "pass --data with a file or folder of text"}
	}
	if c.Documents > math.MaxUint32 {
		return &corpus.Error{What: "more than 2^32 documents",
			Advice: "join short ones, or use a part of the corpus"}
	}
	return nil
}

// builder writes pieces into a cache.
type builder struct {
	w     *shards.Writer
	begun docRecord // a document of which not all records have come
}

// take appends the tokens of one piece and the documents that end in it.
func (b *builder) take(q *piece) error {
	for _, run := range q.runs {
		if err := b.w.Counts(run.n, run.learn); err != nil {
			return err
		}
	}
	if err := b.w.Tokens(q.ids); err != nil {
		return err
	}
	for i := range q.docs {
		d := &q.docs[i]
		d.join(&b.begun)
		if b.begun = (docRecord{}); d.more {
			b.begun = *d
			continue
		}
		if err := b.w.Document(&d.Record); err != nil {
			return err
		}
	}
	return nil
}

// join puts the record before d of the same document, which may be nothing, in front of it.
func (d *docRecord) join(before *docRecord) {
	d.Tokens += before.Tokens
	d.Bytes += before.Bytes
	d.Text += before.Text
	d.Invalid = uint32(min(uint64(d.Invalid)+uint64(before.Invalid), math.MaxUint32))
}
