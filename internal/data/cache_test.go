package data

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"gimbal/internal/corpus"
	"gimbal/internal/durable"
	"gimbal/internal/shards"
	"gimbal/internal/tokenizer"
)

// Where the default place cannot be used another one is used, and the run says so; every place is private to the user.
func TestCachePlace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the places and their permissions are those of Unix")
	}
	text := write(t, t.TempDir(), "a.txt", "some text")
	file := write(t, t.TempDir(), "file", "")
	sealed := t.TempDir()
	if err := os.Mkdir(filepath.Join(sealed, "gimbal"), 0o777); err != nil { // an older version made it for all to read
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		cache, home, out string
		want             string // prefix of the cache
		told             bool
	}{
		"default":                 {cache: sealed, home: t.TempDir(), want: sealed},
		"no folder":               {cache: file, home: t.TempDir(), out: t.TempDir(), want: "out", told: true},
		"no home":                 {out: t.TempDir(), want: "out", told: true},
		"no folder and no run":    {cache: file, home: t.TempDir(), want: "temp", told: true},
		"nothing can be written":  {cache: file, home: file, out: filepath.Join(file, "run"), want: "temp", told: true},
		"nothing, not even there": {cache: file, home: file, out: filepath.Join(file, "run"), want: ""},
	} {
		t.Run(name, func(t *testing.T) {
			temp := t.TempDir()
			if c.want == "" {
				temp = file
			}
			for key, value := range map[string]string{"XDG_CACHE_HOME": c.cache, "HOME": c.home, "TMPDIR": temp} {
				t.Setenv(key, value)
			}
			docs := discover(t, corpus.Options{}, text)
			s, err := Prepare(t.Context(), docs, tokenizer.NewBytes(), PrepareOptions{Out: c.out})
			if c.want == "" {
				if err == nil || !strings.Contains(err.Error(), "XDG_CACHE_HOME") {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			want := map[string]string{"out": filepath.Join(c.out, "cache"), "temp": temp, sealed: sealed}[c.want]
			if !strings.HasPrefix(s.Dir, want) {
				t.Errorf("the cache is %s, want it in %s", s.Dir, want)
			}
			if told := len(s.Events) == 1 && s.Events[0].Code == "F-CACHE-PLACE"; told != c.told {
				t.Errorf("events %v", s.Events)
			}
			info, err := os.Stat(filepath.Dir(s.Dir))
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("permissions %v, %v", info.Mode(), err)
			}
		})
	}
}

// Tokens that somebody else may have planted are not read: a folder that others can write to is no place.
func TestPlantedCache(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the permissions are those of Unix")
	}
	base, out := t.TempDir(), t.TempDir()
	t.Setenv("XDG_CACHE_HOME", base)
	docs := discover(t, corpus.Options{}, write(t, t.TempDir(), "a.txt", "some text"))
	for i, mode := range []fs.FileMode{0o700, 0o755, 0o770, 0o777} {
		if err := os.MkdirAll(filepath.Join(base, "gimbal"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(base, "gimbal"), mode); err != nil {
			t.Fatal(err)
		}
		s, err := Prepare(t.Context(), docs, tokenizer.NewBytes(), PrepareOptions{Out: out})
		if err != nil {
			t.Fatal(err)
		}
		if taken := strings.HasPrefix(s.Dir, base); taken != (i < 2) || taken == (len(s.Events) == 1) {
			t.Errorf("mode %v: %s, %v", mode, s.Dir, s.Events)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A cache that another user made is made again, though its sums are right.
func TestForeignCache(t *testing.T) {
	if os.Geteuid() != 0 || runtime.GOOS == "windows" {
		t.Skip("only root gives files to others")
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	docs := discover(t, corpus.Options{}, write(t, t.TempDir(), "a.txt", "some text"))
	for _, foreign := range []bool{false, true} {
		s, err := Prepare(t.Context(), docs, tokenizer.NewBytes(), PrepareOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if again := len(s.Events) == 1 && s.Events[0].Code == "F-CACHE-DAMAGED"; again != foreign {
			t.Errorf("foreign %v: events %v", foreign, s.Events)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(s.Dir); err != nil || durable.Foreign(s.Dir) {
			t.Errorf("%v, %v", info, err)
		}
		if !foreign {
			if err := os.Chown(s.Dir, 12345, 12345); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A folder of somebody else, or a link to one, is no place.
func TestPrivate(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link")
	if err := os.Symlink(t.TempDir(), link); err != nil {
		t.Skip("no symbolic links here")
	}
	if err := durable.Private(link); err == nil {
		t.Error("a link was taken")
	}
	if err := durable.Private(write(t, dir, "file", "")); err == nil {
		t.Error("a file was taken")
	}
	if err := durable.Private(filepath.Join(dir, "a", "b")); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a", "b")); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("%v, %v", info, err)
	}
}

// Opening a cache again makes it the newest.
func TestOpenedCacheIsTheNewest(t *testing.T) {
	parent := t.TempDir()
	a := prepare(t, discover(t, corpus.Options{}, write(t, t.TempDir(), "a.txt", "abc")), nil,
		PrepareOptions{CacheDir: parent})
	b := prepare(t, discover(t, corpus.Options{}, write(t, t.TempDir(), "b.txt", "defg")), nil,
		PrepareOptions{CacheDir: parent})
	old := time.Now().Add(-1000 * time.Hour)
	if err := os.Chtimes(a.Dir, old, old); err != nil {
		t.Fatal(err)
	}
	list, err := shards.Caches(parent)
	if err != nil || len(list) != 2 || list[0].Dir != b.Dir || list[1].Dir != a.Dir || list[1].Tokens != 3 ||
		list[1].Documents != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	s, err := Prepare(t.Context(), discover(t, corpus.Options{}, a.Sources[0]), tokenizer.NewBytes(),
		PrepareOptions{CacheDir: parent})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err = shards.Caches(parent); err != nil || list[0].Dir != a.Dir {
		t.Errorf("%+v, %v", list, err)
	}
}
