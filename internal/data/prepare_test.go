package data

import (
	"context"
	"errors"
	"gimbal/internal/corpus"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"gimbal/internal/durable"
	"gimbal/internal/durable/crash"
	"gimbal/internal/shards"
	"gimbal/internal/tokenizer"
)

// contents reads the files of a folder, without subfolders.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}

// mixedCorpus has plain files, JSONL, empty documents, faults, and a document of several pieces.
func mixedCorpus(t *testing.T, r *rand.Rand) *corpus.Corpus {
	t.Helper()
	dir := t.TempDir()
	var long strings.Builder
	for long.Len() < 3*pieceBytes+pieceBytes/3 {
		long.WriteString([]string{"the ", "größer ", "中文字 ", "😀", "\n", "  x", "\xff", "1234567 "}[r.IntN(8)])
	}
	write(t, dir, "a.txt", "short")
	write(t, dir, "b.txt", long.String())
	write(t, dir, "c.txt", "")
	write(t, dir, "d.txt", "\xEF\xBB\xBFx")
	jsonLines(t, dir, "e.jsonl", randomTexts(r, 3000, 400))
	write(t, dir, "f.txt", long.String()[:pieceBytes]) // ends where a piece ends
	write(t, dir, "g.txt", "caf\xe9")
	return discover(t, corpus.Options{Encoding: "raw"}, dir)
}

// TestPrepareEqualsAppend is the meaning of a cache: each document's tokens are those of its whole text, whatever the
// workers, pieces and shards.
func TestPrepareEqualsAppend(t *testing.T) {
	r := random(t)
	c := mixedCorpus(t, r)
	texts, _ := readAll(t, c)
	bpe, _, err := tokenizer.TrainBPE(t.Context(), c.Texts(t.Context()), tokenizer.TrainOptions{VocabSize: 500})
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range []*tokenizer.Tokenizer{tokenizer.NewBytes(), bpe} {
		var first map[string]string
		for _, workers := range []int{1, 2, 7} {
			s := prepare(t, c, tok, PrepareOptions{Workers: workers, shard: 300_000})
			if first == nil {
				first = contents(t, s.Dir)
			} else if got := contents(t, s.Dir); !reflect.DeepEqual(got, first) {
				t.Fatalf("%s: %d workers make another cache", tok.Kind(), workers)
			}
			if workers > 1 {
				continue
			}
			if first["tokens-00002.bin"] == "" {
				t.Errorf("%s: %d files; the test wants documents across shards", tok.Kind(), len(first))
			}
			if s.index.Len() != len(texts) {
				t.Fatalf("%d documents, want %d", s.index.Len(), len(texts))
			}
			var want shards.Census
			for d, text := range texts {
				ids, err := tok.Append(nil, []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				if got := s.text(nil, d, 1, s.index.Tokens(d)+1); !slices.Equal(got, ids) {
					t.Fatalf("%s: document %d of %d bytes differs", tok.Kind(), d, len(text))
				}
				bad := naiveInvalid(text)
				if int64(invalid(s, d)) != bad || spelledBytes(s, d) != int64(len(text)) {
					t.Errorf("document %d: %d invalid, %d bytes; want %d, %d", d, invalid(s, d),
						spelledBytes(s, d), bad, len(text))
				}
				want.Documents++
				want.Tokens += int64(len(ids))
				want.TextBytes += int64(len(text))
				want.InvalidUTF8 += bad
				if bad > 0 {
					want.InvalidDocs++
				}
				if len(ids) == 0 {
					want.Empty++
				}
				if len(ids) == 1 {
					want.OneToken++
				}
			}
			got := s.Census()
			if got.Read.BOMs != 1 || got.Sources != 7 || got.SpelledBytes != want.TextBytes {
				t.Errorf("census %+v", got)
			}
			want.Sources, want.SpelledBytes, want.Lengths = got.Sources, got.SpelledBytes, got.Lengths
			want.Read, want.Skipped = got.Read, got.Skipped
			if !reflect.DeepEqual(got, want) {
				t.Errorf("census %+v, want %+v", got, want)
			}
		}
	}
}

func naiveInvalid(s string) (n int64) {
	for len(s) > 0 {
		r, w := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && w == 1 {
			n++
		}
		s = s[w:]
	}
	return n
}

// TestWideTokens needs ids above 65,535.
func TestWideTokens(t *testing.T) {
	var alphabet []rune
	for r := rune(0x20000); len(alphabet) < 70_000; r++ {
		alphabet = append(alphabet, r)
	}
	text := string(alphabet[69_990:]) + string(alphabet[:5])
	s := prepare(t, discover(t, corpus.Options{}, write(t, t.TempDir(), "a.txt", text)), tokenizer.NewChars(alphabet),
		PrepareOptions{shard: 4})
	if len(contents(t, s.Dir)["tokens-00000.bin"]) != 4*4 {
		t.Fatal("70,000 ids in two bytes")
	}
	sp := s.All(100)
	b := epoch(sp)
	if got := string(s.tok.Decode(nil, b.Labels)); got != text || b.Bytes != int64(len(text)) {
		t.Errorf("%d bytes of %d come back", len(got), len(text))
	}
	// The unseen character is named with its file.
	_, err := Prepare(t.Context(), discover(t, corpus.Options{}, write(t, t.TempDir(), "b.txt", text+"x")),
		tokenizer.NewChars(alphabet), PrepareOptions{CacheDir: t.TempDir()})
	if fault := new(corpus.Error); !errors.As(err, &fault) || !strings.Contains(err.Error(), "b.txt") ||
		!strings.Contains(err.Error(), "'x'") {
		t.Errorf("unseen character: %v", err)
	}
}

func TestCacheReuse(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	path := write(t, dir, "a.txt", "one two")
	built := 0
	open := func(opt corpus.Options, tok *tokenizer.Tokenizer) *Set {
		return prepare(t, discover(t, opt, dir), tok, PrepareOptions{CacheDir: cache,
			Progress: func(done, total int64) { built++ }})
	}
	first := open(corpus.Options{}, nil)
	if built == 0 {
		t.Fatal("nothing was tokenised")
	}
	built = 0
	if again := open(corpus.Options{}, nil); built != 0 || again.Dir != first.Dir || len(again.Events) != 0 ||
		!reflect.DeepEqual(again.Census(), first.Census()) {
		t.Errorf("not reused: %d pieces, events %v", built, again.Events)
	}
	dirs := map[string]bool{first.Dir: true}
	for _, c := range []struct {
		name   string
		change func() error
		opt    corpus.Options
		tok    *tokenizer.Tokenizer
	}{
		{"separator", func() error { return nil }, corpus.Options{Separator: " "}, nil},
		{"tokenizer", func() error { return nil }, corpus.Options{}, tokenizer.NewChars([]rune("one tw"))},
		// of the same size
		{"content", func() error { return os.WriteFile(path, []byte("one Two"), 0o666) }, corpus.Options{}, nil},
		{"file", func() error { return os.WriteFile(path+"2", []byte("x"), 0o666) }, corpus.Options{}, nil},
		{"name", func() error { return os.Rename(path, path+"1") }, corpus.Options{}, nil},
	} {
		if err := c.change(); err != nil {
			t.Fatal(err)
		}
		built = 0
		s := open(c.opt, c.tok)
		if built == 0 || dirs[s.Dir] {
			t.Errorf("another %s, the same cache", c.name)
		}
		dirs[s.Dir] = true
	}
}

// TestCacheDamage damages every file of a cache in every way; each must be found, named, and made good.
func TestCacheDamage(t *testing.T) {
	r := random(t)
	cache := t.TempDir()
	c := discover(t, corpus.Options{}, jsonLines(t, t.TempDir(), "a.jsonl", randomTexts(r, 50, 40)))
	opt := PrepareOptions{CacheDir: cache, shard: 300}
	intact := prepare(t, c, nil, opt)
	want := contents(t, intact.Dir)
	if len(want) < 5 {
		t.Fatalf("only %d files", len(want))
	}
	ways := map[string]func(name, old string) error{
		"is missing": func(name, old string) error { return os.Remove(name) },
		"truncated":  func(name, old string) error { return os.WriteFile(name, []byte(old[:r.IntN(len(old))]), 0o666) },
		"longer":     func(name, old string) error { return os.WriteFile(name, []byte(old+"x"), 0o666) },
		"flipped": func(name, old string) error {
			b := []byte(old)
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
			return os.WriteFile(name, b, 0o666)
		},
		"swapped": func(name, old string) error {
			other := "tokens-00000.bin"
			if filepath.Base(name) == other {
				other = "tokens-00001.bin"
			}
			return os.WriteFile(name, []byte(want[other]), 0o666)
		},
	}
	for file, old := range want {
		for way, damage := range ways {
			times := 1
			if way == "flipped" {
				times = 4
			}
			for range times {
				// A new file takes the name, so that the mappings of open sets keep the old one.
				name := filepath.Join(intact.Dir, file)
				if err := errors.Join(os.Remove(name), damageFile(name, old, damage)); err != nil {
					t.Fatal(err)
				}
				s, err := Prepare(t.Context(), c, tokenizer.NewBytes(), opt)
				if err != nil {
					t.Fatalf("%s %s: %v", file, way, err)
				}
				if len(s.Events) != 1 || s.Events[0].Code != "F-CACHE-DAMAGED" || !strings.Contains(s.Events[0].Text, file) {
					t.Errorf("%s %s: events %v", file, way, s.Events)
				}
				if got := contents(t, s.Dir); !reflect.DeepEqual(got, want) {
					t.Errorf("%s %s: made again, but different", file, way)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if entries, err := os.ReadDir(cache); err != nil || len(entries) != 1 {
		t.Errorf("litter in the cache: %v, %v", entries, err)
	}
	if b := epoch(intact.All(10)); b.Counted == 0 {
		t.Error("the set opened before the damage is empty")
	}
}

func damageFile(name, old string, damage func(name, old string) error) error {
	if err := os.WriteFile(name, []byte(old), 0o666); err != nil {
		return err
	}
	return damage(name, old)
}

// TestCacheCrash ends the process, or fails an operation, at every operation of a build. What is left never verifies
// as a cache unless it is whole, and the next build succeeds on the same disk.
func TestCacheCrash(t *testing.T) {
	r := random(t)
	c := discover(t, corpus.Options{}, jsonLines(t, t.TempDir(), "a.jsonl", randomTexts(r, 20, 30)))
	work, err := c.Identify(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	tok := tokenizer.NewBytes()
	cache := filepath.Join(string(filepath.Separator), "home", "cache")
	key := cacheKey(work, tok, PrepareOptions{shard: 100})
	build := func(fsys durable.FS) error {
		opt := PrepareOptions{CacheDir: cache, Workers: 2, fs: fsys, shard: 100}
		_, err := buildCache(t.Context(), work, tok, opt, key)
		return err
	}
	calm := crash.New()
	if err := build(calm); err != nil {
		t.Fatal(err)
	}
	steps := calm.Ops()
	if steps < 20 {
		t.Fatalf("a build of %d operations", steps)
	}
	whole := 0
	for k := range steps + 1 {
		for _, how := range []string{"stop", "fail", "full"} {
			disk := crash.New()
			switch how {
			case "stop":
				disk.StopAt(k)
			case "fail":
				disk.FailAt(k, errors.New("planted"))
			case "full":
				disk.FailAt(k, durable.ErrNoSpace)
			}
			err := build(disk)
			if how == "full" && err != nil && (!errors.Is(err, durable.ErrNoSpace) ||
				!strings.Contains(err.Error(), "free some space")) {
				t.Fatalf("operation %d on a full disk: %v", k, err)
			}
			if fault := new(corpus.Error); errors.As(err, &fault) {
				t.Fatalf("operation %d: a fault of the disk is blamed on the data: %v", k, err)
			}
			for _, percent := range []int{0, 50, 100} {
				after := disk.Clone(percent, r.Uint64())
				_, err2 := shards.Folder{FS: after, Dir: cache}.Open(key)
				broken := new(shards.Damage)
				switch {
				case err2 == nil:
					whole++
				case err == nil:
					t.Fatalf("operation %d (%s): the build said done, the disk says %v", k, how, err2)
				case !errors.Is(err2, shards.ErrNoCache) && !errors.As(err2, &broken):
					t.Fatalf("operation %d (%s): %v", k, how, err2)
				}
				if err := build(after); err != nil {
					t.Fatalf("operation %d (%s): the next build: %v", k, how, err)
				}
				if _, err := (shards.Folder{FS: after, Dir: cache}).Open(key); err != nil {
					t.Fatalf("operation %d (%s): after the next build: %v", k, how, err)
				}
			}
		}
	}
	if whole == 0 {
		t.Error("no build survived")
	}
}

// TestConcurrentPrepare lets many make, and mend, one cache at once.
func TestConcurrentPrepare(t *testing.T) {
	r := random(t)
	cache := t.TempDir()
	c := discover(t, corpus.Options{}, jsonLines(t, t.TempDir(), "a.jsonl", randomTexts(r, 300, 100)))
	var want []int32
	for round := range 6 {
		if round > 0 { // damaged for all of them
			dirs, err := os.ReadDir(cache)
			if err != nil || len(dirs) != 1 {
				t.Fatalf("%v, %v", dirs, err)
			}
			if err := os.Remove(filepath.Join(cache, dirs[0].Name(), "index.bin")); err != nil {
				t.Fatal(err)
			}
		}
		var wg sync.WaitGroup
		labels := make([][]int32, 6)
		errs := make([]error, len(labels))
		for i := range labels {
			wg.Go(func() {
				s, err := Prepare(t.Context(), c, tokenizer.NewBytes(), PrepareOptions{CacheDir: cache})
				if errs[i] = err; err == nil {
					labels[i] = epoch(s.All(20)).Labels
					errs[i] = s.Close()
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		for _, got := range labels {
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) || len(got) == 0 {
				t.Fatal("two processes see different tokens")
			}
		}
	}
}

// vanish moves a cache away as another process does that mends it, when the first of its shards is opened.
type vanish struct {
	durable.FS
	once sync.Once
}

func (v *vanish) Open(name string) (durable.File, error) {
	if filepath.Base(name) == "tokens-00000.bin" {
		v.once.Do(func() { _ = os.Rename(filepath.Dir(name), filepath.Dir(name)+"-away") })
	}
	return v.FS.Open(name)
}

func TestCacheMovedAwayWhileRead(t *testing.T) {
	r := random(t)
	cache := t.TempDir()
	c := discover(t, corpus.Options{}, jsonLines(t, t.TempDir(), "a.jsonl", randomTexts(r, 30, 100)))
	var want []int32
	for _, fsys := range []durable.FS{durable.OS, &vanish{FS: durable.OS}} {
		s, err := Prepare(t.Context(), c, tokenizer.NewBytes(), PrepareOptions{CacheDir: cache, fs: fsys})
		if err != nil {
			t.Fatal(err)
		}
		got := epoch(s.All(20)).Labels
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) || len(got) == 0 {
			t.Error("other tokens")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrepareErrors(t *testing.T) {
	dir := t.TempDir()
	user := func(err error, wants ...string) {
		t.Helper()
		if fault := new(corpus.Error); !errors.As(err, &fault) {
			t.Errorf("%v", err)
			return
		}
		for _, want := range wants {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not say %q", err, want)
			}
		}
	}
	try := func(c *corpus.Corpus, opt PrepareOptions) error {
		t.Helper()
		opt.CacheDir = filepath.Join(dir, "cache")
		s, err := Prepare(t.Context(), c, tokenizer.NewBytes(), opt)
		if err == nil {
			t.Error("no error")
			return s.Close()
		}
		if entries, _ := os.ReadDir(opt.CacheDir); len(entries) > 0 {
			t.Errorf("litter after %v: %v", err, entries)
		}
		return err
	}
	user(try(discover(t, corpus.Options{}, write(t, dir, "empty.txt", "")), PrepareOptions{}), "no text", "--data")
	broken := write(t, dir, "bad.jsonl", "{\"text\":\"a\"}\n{\"text\":7}\n")
	user(try(discover(t, corpus.Options{}, broken), PrepareOptions{}), "bad.jsonl:2:9", "not a string",
		"data.bad_documents")
	onlyBad := write(t, dir, "bad2.jsonl", "[]\n[]\n")
	user(try(discover(t, corpus.Options{BadDocuments: "skip"}, onlyBad), PrepareOptions{}), "no text", "2 broken documents",
		"bad2.jsonl:1:1")

	gone := discover(t, corpus.Options{}, write(t, dir, "gone.txt", "a"))
	if err := os.Remove(filepath.Join(dir, "gone.txt")); err != nil {
		t.Fatal(err)
	}
	err := try(gone, PrepareOptions{})
	user(err, "gone.txt", "cannot open")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not match fs.ErrNotExist", err)
	}
	changing := discover(t, corpus.Options{}, write(t, dir, "log.txt", "one"))
	user(try(changing, PrepareOptions{hashed: func() { write(t, dir, "log.txt", "two") }}), "log.txt", "changed while")

	// A cache that cannot be made is no fault of the data.
	good := discover(t, corpus.Options{}, write(t, dir, "good.txt", "a"))
	_, err = Prepare(t.Context(), good, tokenizer.NewBytes(),
		PrepareOptions{CacheDir: filepath.Join(dir, "good.txt", "x")})
	if fault := new(corpus.Error); err == nil || errors.As(err, &fault) {
		t.Errorf("a cache below a file: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = Prepare(ctx, good, tokenizer.NewBytes(),
		PrepareOptions{CacheDir: filepath.Join(dir, "cache"), hashed: cancel})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestSweep(t *testing.T) {
	cache := t.TempDir()
	left, other := durable.TempName(cache, "k"), filepath.Join(cache, "kept")
	made, held, err := durable.Unfinished(durable.OS, cache, "k")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, dir := range []string{left, made, other} {
		write(t, dir, "f", "x")
	}
	docs := discover(t, corpus.Options{}, write(t, t.TempDir(), "a.txt", "text"))
	s, err := Prepare(t.Context(), docs, tokenizer.NewBytes(), PrepareOptions{CacheDir: cache})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	list, err := shards.Caches(cache)
	if err != nil || len(list) != 2 || !list[0].Busy() == !list[1].Busy() {
		t.Errorf("caches %+v, %v", list, err)
	}
	for dir, want := range map[string]bool{left: false, made: true, other: true, s.Dir: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", dir, err == nil, want)
		}
	}
}

func TestCensusString(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.txt", strings.Repeat("x", 1234))
	write(t, dir, "b.txt", "")
	write(t, dir, "c.txt", "y")
	write(t, dir, "d.txt", "\xff\xfe\xfd ")
	write(t, dir, "e.jsonl", "7\n")
	write(t, dir, "f.png", "\x00")
	if err := os.Rename(filepath.Join(dir, "d.txt"), filepath.Join(dir, "d2.txt")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "d2.txt", " \xff\xfe\xfd")
	docs := discover(t, corpus.Options{BadDocuments: "skip", BadShare: 1, Encoding: "raw"}, dir)
	s := prepare(t, docs, nil, PrepareOptions{})
	want := `4 documents in 5 files: 1,239 bytes, 1,239 tokens, 1.00 bytes per token
tokens per document: least 0, 10 % 0, 25 % 0, median 1, 75 % 4, 90 % 4, most 1,234
documents: 1 empty, 1 of one token, 1 with invalid UTF-8 (3 bytes, kept)
skipped: 1 broken document, 1 binary file
first broken document: data: ` + filepath.Join(dir, "e.jsonl") + `:1:1: not a JSON object`
	if got := censusText(&s.census); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := censusText(&shards.Census{}); strings.Contains(got, "NaN") || strings.Contains(got, "\n") {
		t.Errorf("of nothing: %s", got)
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", -1234567: "-1,234,567", -123: "-123"} {
		if got := group(n); got != want {
			t.Errorf("%d is written %s", n, got)
		}
	}
	want = filepath.Join(dir, "d2.txt") + ", bytes 0 to 4"
	if got := s.Describe(s.index.Ref(3)); got != want {
		t.Errorf("described as %s, want %s", got, want)
	}
}

// A run is resumed with the text it was trained on, wherever that lies now; other text is another hash.
func TestSetHashFollowsTheText(t *testing.T) {
	hash := func(text string) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		c, err := corpus.Discover([]string{dir}, corpus.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Prepare(context.Background(), c, tokenizer.NewBytes(), PrepareOptions{CacheDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		return s.Hash
	}
	here := hash("one text")
	if there := hash("one text"); there != here {
		t.Error("the same text elsewhere has another hash")
	}
	if hash("one test") == here {
		t.Error("other text has the same hash")
	}
}
