package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"runtime"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/tokenizer"
)

// PrepareOptions say where tokens are kept and how sequences are formed from them. Only CacheDir touches the disk; the
// other options act on the opened set, so that changing them costs nothing.
type PrepareOptions struct {
	// Parent of the caches; "" means os.UserCacheDir()/gimbal, or a temporary folder where there is no home.
	CacheDir    string
	ValFraction float64 // share held out, in [0, 1)
	Start       string  // what opens a document: "eos" (default, also ""), "bos" or "none"
	Workers     int     // tokenising and hashing; <= 0: GOMAXPROCS

	Progress func(done, total int64) // bytes tokenised, if not nil; called from the goroutine of Prepare

	fs     durable.FS  // nil: durable.OS
	shard  int64       // tokens in a shard; 0: shardTokens
	format chat.Format // of conversations; nil: the tokenizer's. The key of the cache does not know of another
	hashed func()      // tests: called between hashing the sources and tokenising them
}

// Prepare returns the corpus as tokens in memory-mapped shards, tokenising it only if no intact cache of the same
// content, options and tokenizer exists.
//
// Every source is read once to know the key, and once more to tokenise it; a file that changes in between is an error.
// The result does not depend on the number of workers. Memory: a bounded number of pieces of 256 KiB, one JSONL line,
// and 8 bytes a document. A cache is written under a temporary name and renamed when it is durable, so a crash leaves
// no half of one, and of two processes that make the same one the first to finish wins. A damaged cache is reported in
// Set.Events and made again.
//
// Failure: *Error for the user's text; other errors are of the cache (durable.ErrNoSpace when the disk is full) or
// ctx's.
func Prepare(ctx context.Context, c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions) (*Set, error) {
	if !(opt.ValFraction >= 0 && opt.ValFraction < 1) {
		return nil, &corpus.Error{What: fmt.Sprintf("data.val_fraction is %v", opt.ValFraction),
			Advice: "use a share from 0 up to, but not including, 1"}
	}
	if opt.Start == "" {
		opt.Start = "eos"
	}
	start, hasStart, err := tok.Start(opt.Start)
	if err != nil {
		return nil, &corpus.Error{What: fmt.Sprintf("data.start is %q", opt.Start), Err: err,
			Advice: "use eos, bos or none"}
	}
	if opt.fs == nil {
		opt.fs = durable.OS
	}
	if opt.shard == 0 {
		opt.shard = shardTokens
	}
	if opt.format == nil {
		opt.format = chat.For(tok)
	}
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.CacheDir == "" {
		opt.CacheDir = DefaultCacheDir()
	}
	work, err := c.Identify(ctx, opt.Workers)
	if err != nil {
		return nil, err
	}
	if opt.hashed != nil {
		opt.hashed()
	}
	key := cacheKey(work, tok, opt.shard)
	dir := filepath.Join(opt.CacheDir, key)

	s := &Set{Dir: dir, tok: tok, format: opt.format, start: start, hasStart: hasStart, valFrac: opt.ValFraction,
		weights: work.Weights()}
	for _, src := range work.Sources {
		s.Sources = append(s.Sources, src.Path)
		s.roots = append(s.roots, src.Root)
	}
	for attempt := 1; ; attempt++ {
		m, err := openCache(opt, dir, key)
		var broken *damage
		switch {
		case err == nil:
		case errors.As(err, &broken):
			what := fmt.Sprintf("token cache %s: %s; made again", dir, broken.what)
			s.Events = append(s.Events, Event{"F-CACHE-DAMAGED", what})
			fallthrough
		case errors.Is(err, errNoCache):
			if m, err = buildCache(ctx, work, tok, opt, dir, key); err != nil {
				return nil, err
			}
		default:
			return nil, fmt.Errorf("data: read token cache %s: %w", dir, err)
		}
		if err := work.WithinBudget(&m.Census.Read, m.Census.Documents); err != nil {
			return nil, err
		}
		s.census, s.Hash = m.Census, m.content()
		s.census.Skipped = maps.Clone(c.Skipped)
		if err = s.open(m); err == nil {
			touch(dir)
			return s, nil
		}
		err = errors.Join(fmt.Errorf("data: open token cache %s: %w", dir, err), s.Close())
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 {
			return nil, err
		}
		// Another process that mends the same cache moved it away between our look at it and this. What it makes is
		// the same.
	}
}

func openCache(opt PrepareOptions, dir, key string) (*manifest, error) {
	m, err := readManifest(opt.fs, dir, key)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, e := range m.Files {
		total += e.Bytes
	}
	return m, m.verify(opt.fs, dir, total <= autoHashBytes)
}

// cacheKey hashes everything that decides the content of a cache.
func cacheKey(c *corpus.Corpus, tok *tokenizer.Tokenizer, shard int64) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d\nshard %d\ntokenizer %s\n%s", formatName, formatVersion, shard, tok.Hash(), c.Fingerprint())
	return hex.EncodeToString(h.Sum(nil)[:16])
}
