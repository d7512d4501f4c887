package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"time"

	"gimbal/internal/chat"
	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/shards"
	"gimbal/internal/tokenizer"
)

// PrepareOptions say where tokens are kept and how sequences are formed from them. Only CacheDir concerns the disk; the
// other options are used when the set is opened, so that changing them costs nothing.
type PrepareOptions struct {
	// Parent of the caches; "" means os.UserCacheDir()/gimbal. If that cannot be read or written, it is a folder in Out,
	// the directory of the run that the text is for, or else a temporary one of the user.
	CacheDir    string
	Out         string
	ValFraction float64 // share held out, in [0, 1)
	ValFrom     string  // of a single text: "end" (default, also ""), or "before_end", which leaves its end to train
	Start       string  // what opens a document: "eos" (default, also ""), "bos" or "none"
	Workers     int     // tokenising and hashing; <= 0: GOMAXPROCS

	Format chat.Format // of conversations; nil: chat.For the tokenizer

	Progress func(done, total int64) // bytes tokenised, if not nil; called from the goroutine of Prepare

	fs     durable.FS // nil: durable.OS
	shard  int64      // tokens in a shard; 0: shards.FullShard
	opens  int32      // Start as a token; -1: none
	hashed func()     // tests: called between hashing the sources and tokenising them

	private bool // CacheDir was chosen here
}

// Prepare returns the corpus as tokens in memory-mapped shards. It tokenises only if there is no intact cache of the
// same content, options and tokenizer.
//
// It reads every source once for the key, and again to tokenise it; a file that changes in between is an error. The
// result does not depend on the number of workers. A cache is written under a temporary name and renamed when it is
// durable, so a crash leaves no partial cache, and of two processes that make the same one the first to finish wins. A
// damaged cache is reported in Set.Events and made again.
//
// Memory: a bounded number of pieces of 256 KiB, one JSONL line, caches of 3.5 MiB for each worker, and 8 bytes a
// document.
// Failure: *Error for the user's text; other errors are of the cache (durable.ErrNoSpace when the disk is full) or
// ctx's.
func Prepare(ctx context.Context, c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions) (*Set, error) {
	if !(opt.ValFraction >= 0 && opt.ValFraction < 1) {
		return nil, &corpus.Error{What: fmt.Sprintf("data.val_fraction is %v", opt.ValFraction),
			Advice: "use a share from 0 up to, but not including, 1"}
	}
	opt.Start = cmp.Or(opt.Start, "eos")
	start, hasStart, err := tok.Start(opt.Start)
	if err != nil {
		return nil, &corpus.Error{What: fmt.Sprintf("data.start is %q", opt.Start), Err: err,
			Advice: "use eos, bos or none"}
	}
	if !hasStart {
		start = -1
	}
	opt.opens = start
	opt.shard = cmp.Or(opt.shard, shards.FullShard)
	opt.fs = cmp.Or(opt.fs, durable.OS)
	opt.Format = cmp.Or(opt.Format, chat.For(tok))
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	work, err := c.Identify(ctx, opt.Workers)
	if err != nil {
		return nil, err
	}
	if opt.hashed != nil {
		opt.hashed()
	}
	if opt.CacheDir != "" {
		return prepareIn(ctx, work, tok, opt)
	}
	dirs, why := shards.Places(opt.Out)
	for _, opt.CacheDir = range dirs {
		opt.private = true
		s, err := prepareIn(ctx, work, tok, opt)
		if err == nil && why != nil {
			what := fmt.Sprintf("the token cache is in %s, because there is no other place for it: %v", opt.CacheDir, why)
			s.Events = append(s.Events, Event{"F-CACHE-PLACE", what})
		}
		var bad *noPlace
		if !errors.As(err, &bad) || ctx.Err() != nil {
			return s, err
		}
		if why == nil {
			why = err
		}
	}
	return nil, fmt.Errorf("%w; let XDG_CACHE_HOME name a folder that can be written", why)
}

// prepareIn is Prepare for a corpus that was read, with the caches in one folder.
func prepareIn(ctx context.Context, work *corpus.Corpus, tok *tokenizer.Tokenizer,
	opt PrepareOptions) (*Set, error) {
	if opt.private { // before anything in it is believed
		if err := durable.Private(opt.CacheDir); err != nil {
			return nil, &noPlace{fmt.Errorf("data: token caches in %s: %w", opt.CacheDir, err)}
		}
	}
	key := cacheKey(work, tok, opt)
	s := &Set{Dir: opt.folder().Path(key), tok: tok, format: opt.Format, start: opt.opens,
		weights: work.Weights(), lengths: spelledLengths(tok), docs: work,
		pairs: work.Pairs(),
		held:  held{fraction: opt.ValFraction, beforeEnd: opt.ValFrom == "before_end"}}
	if _, ok := opt.Format.(*chat.Template); ok {
		s.ends = opt.Format.TurnEnds()
	}
	for _, src := range work.Sources {
		s.Sources = append(s.Sources, src.Path)
		s.roots = append(s.roots, src.Root)
	}
	for attempt := 1; ; attempt++ {
		m, err := opt.folder().Open(key)
		var broken *shards.Damage
		switch {
		case err == nil:
		case errors.As(err, &broken):
			what := fmt.Sprintf("token cache %s: %s; made again", s.Dir, broken)
			s.Events = append(s.Events, Event{"F-CACHE-DAMAGED", what})
			fallthrough
		case errors.Is(err, shards.ErrNoCache):
			if m, err = buildCache(ctx, work, tok, opt, key); err != nil {
				return nil, err
			}
		default:
			return nil, &noPlace{fmt.Errorf("data: read token cache %s: %w", s.Dir, err)}
		}
		if err := work.WithinBudget(&m.Census.Read, m.Census.Documents); err != nil {
			return nil, err
		}
		s.census, s.Hash = m.Census, m.Content()
		s.census.Skipped = maps.Clone(work.Skipped)
		if s.files, err = m.Map(s.Dir); err == nil {
			s.index, s.mask = s.files.Index, s.files.Mask
			s.split(work)
			if err := s.tell(ctx, work); err != nil {
				return nil, errors.Join(err, s.Close())
			}
			now := time.Now()
			_ = os.Chtimes(s.Dir, now, now) // for Caches; a failure only makes it look older
			return s, nil
		}
		err = fmt.Errorf("data: open token cache %s: %w", s.Dir, err)
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 {
			return nil, err
		}
		// Another process that repairs the same cache has just moved it away. It makes the same one.
	}
}

// folder is where the caches are.
func (o *PrepareOptions) folder() shards.Folder {
	return shards.Folder{FS: o.fs, Dir: o.CacheDir, Private: o.private}
}

// spec returns what a cache is made of.
func spec(c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions) shards.Spec {
	return shards.Spec{Sources: c.Sources, Tokenizer: tok.Hash(), VocabSize: tok.VocabSize(), Shard: opt.shard}
}

// cacheKey hashes everything that decides the content of a cache.
func cacheKey(c *corpus.Corpus, tok *tokenizer.Tokenizer, opt PrepareOptions) string {
	text := c.Fingerprint()
	if t, ok := opt.Format.(*chat.Template); ok { // others follow from the tokenizer
		text += fmt.Sprintf("template %s start %q\n", t.Hash(), opt.Start)
	}
	return spec(c, tok, opt).Key(text)
}
