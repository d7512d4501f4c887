package data

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"

	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/tokenizer"
)

// buildCache makes dir, which is missing or damaged.
func buildCache(ctx context.Context, c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions,
	dir, key string) (m *manifest, err error) {
	fsys := opt.fs
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
	if err := durable.Mkdir(fsys, opt.CacheDir); err != nil {
		return nil, err
	}
	_ = durable.SweepFree(opt.CacheDir, "") // what stays takes room and does no harm
	tmp, held, err := durable.Unfinished(fsys, opt.CacheDir, key)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	defer func() {
		if rerr := fsys.RemoveAll(tmp); rerr != nil && err == nil { // does nothing after the renaming
			err = rerr
		}
	}()
	w := &cacheWriter{fs: fsys, dir: tmp, opt: opt}
	if m, err = w.write(ctx, c, tok, key); err != nil {
		return nil, err
	}
	// Another process may have made the same cache meanwhile. A whole one serves as well; a broken one is removed.
	for attempt := 1; ; attempt++ {
		theirs, err := openCache(opt, dir, key)
		if err == nil {
			return theirs, nil
		}
		if !errors.Is(err, errNoCache) {
			old := durable.TempName(opt.CacheDir, key)
			if err := fsys.Rename(dir, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			_ = fsys.RemoveAll(old) // what stays takes room and does no harm
		}
		if err = fsys.Rename(tmp, dir); err == nil {
			return m, fsys.SyncDir(opt.CacheDir)
		}
		if attempt == 3 {
			return nil, err
		}
	}
}

// cacheWriter writes tokens and index in document order.
type cacheWriter struct {
	fs   durable.FS
	dir  string
	opt  PrepareOptions
	wide bool

	open          []*fileWriter
	tokens, index *fileWriter
	mask          maskWriter
	total, inFile int64 // tokens written, and of these in the open shard
	next          int64 // first token of the next document of the index
	files         []fileEntry
	census        Census
	lengths       lengths
	uses          []int64   // how often each id came
	begun         docRecord // a document of which not all records have come
}

func (w *cacheWriter) write(ctx context.Context, c *corpus.Corpus, tok *tokenizer.Tokenizer,
	key string) (_ *manifest, err error) {
	defer func() {
		for _, f := range w.open { // after a failure
			_ = f.f.Close()
		}
	}()
	if w.index, err = w.create(indexFile); err != nil {
		return nil, err
	}
	w.wide = tok.VocabSize() > maxTwoByteSize
	w.uses = make([]int64, tok.VocabSize())
	w.census.Sources = int64(len(c.Sources))
	t, err := tokenise(ctx, c, tok, w.opt, w.take)
	if err != nil {
		return nil, err
	}
	w.census.Read = *t
	w.census.Tokens = w.total
	w.census.Lengths = w.lengths.quantiles()
	if w.total == 0 {
		note := ""
		if left := skipped(t); len(left) > 0 {
			note = " (skipped: " + strings.Join(left, ", ") + ")"
		}
		if t.FirstBad != "" {
			note += ", the first broken one: " + t.FirstBad
		}
		return nil, &corpus.Error{What: "the corpus has no text" + note,
			Advice: "pass --data with a file or folder of text"}
	}
	if w.census.Documents > math.MaxUint32 {
		return nil, &corpus.Error{What: "more than 2^32 documents",
			Advice: "join short ones, or use a part of the corpus"}
	}
	if err := w.mask.finish(); err != nil {
		return nil, err
	}
	for _, f := range []*fileWriter{w.tokens, w.index, w.mask.f} {
		if f == nil {
			continue
		}
		if err := w.finish(f); err != nil {
			return nil, err
		}
	}
	sources, err := json.MarshalIndent(c.Sources, "", " ")
	if err != nil {
		return nil, err
	}
	uses, err := binary.Append(nil, binary.LittleEndian, w.uses)
	if err := errors.Join(err, w.whole(sourcesFile, sources), w.whole(usesFile, uses)); err != nil {
		return nil, err
	}
	m := &manifest{Format: formatName, Version: formatVersion, Key: key, Tokenizer: tok.Hash(),
		VocabSize: tok.VocabSize(), TokenBytes: 2, Tokens: w.total, Documents: w.census.Documents,
		ShardTokens: w.opt.shard, Census: w.census, Files: w.files}
	if w.wide {
		m.TokenBytes = 4
	}
	raw, err := m.encode()
	if err == nil {
		err = w.whole(manifestFile, raw)
	}
	if err != nil {
		return nil, err
	}
	return m, w.fs.SyncDir(w.dir)
}

// create makes a file of the cache.
func (w *cacheWriter) create(name string) (*fileWriter, error) {
	f, err := createFile(w.fs, w.dir, name)
	if err == nil {
		w.open = append(w.open, f)
	}
	return f, err
}

// finish makes a file durable and lists it.
func (w *cacheWriter) finish(f *fileWriter) error {
	e, err := f.finish()
	w.open = slices.DeleteFunc(w.open, func(o *fileWriter) bool { return o == f })
	w.files = append(w.files, e)
	return err
}

// whole writes a file at once.
func (w *cacheWriter) whole(name string, content []byte) error {
	f, err := w.create(name)
	if err != nil {
		return err
	}
	f.buf = content
	return w.finish(f)
}

// take appends the tokens of one piece and the documents that end in it.
func (w *cacheWriter) take(q *piece) error {
	for _, run := range q.runs {
		if err := w.mask.add(run, w.create); err != nil {
			return err
		}
	}
	if err := w.takeTokens(q.ids); err != nil {
		return err
	}
	for i := range q.docs {
		d := &q.docs[i]
		d.join(&w.begun)
		if w.begun = (docRecord{}); d.more {
			w.begun = *d
			continue
		}
		w.census.add(d)
		d.Begin = w.next
		w.next += d.Tokens
		w.lengths.add(d.Tokens)
		if err := w.index.room(recordBytes); err != nil {
			return err
		}
		w.index.buf = d.append(w.index.buf)
	}
	return nil
}

func (w *cacheWriter) takeTokens(ids []int32) (err error) {
	for len(ids) > 0 {
		if w.tokens != nil && w.inFile == w.opt.shard {
			if err := w.finish(w.tokens); err != nil {
				return err
			}
			w.tokens, w.inFile = nil, 0
		}
		if w.tokens == nil {
			if w.tokens, err = w.create(shardFile(w.total / w.opt.shard)); err != nil {
				return err
			}
		}
		n := int(min(int64(len(ids)), w.opt.shard-w.inFile, readBuffer/4))
		if err := w.tokens.room(4 * n); err != nil {
			return err
		}
		b := w.tokens.buf
		for _, id := range ids[:n] {
			w.uses[id]++
			if w.wide {
				b = append(b, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
			} else {
				b = append(b, byte(id), byte(id>>8))
			}
		}
		w.tokens.buf = b
		w.inFile += int64(n)
		w.total += int64(n)
		ids = ids[n:]
	}
	return nil
}

// join puts the record before d of the same document, which may be nothing, in front of it.
func (d *docRecord) join(before *docRecord) {
	d.Tokens += before.Tokens
	d.Bytes += before.Bytes
	d.text += before.text
	d.Invalid = uint32(min(uint64(d.Invalid)+uint64(before.Invalid), math.MaxUint32))
}
