package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"

	"gimbal/internal/checkpoint"
	"gimbal/internal/durable"
	"gimbal/internal/rundir"
	"gimbal/internal/safetensors"
)

const place = "s3://bucket/runs/one"

const secret = "do-not-tell-anybody"

// server is an S3 server in this process, which can be made to fail.
type server struct {
	inner  http.Handler
	broken atomic.Bool
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.broken.Load() {
		http.Error(w, "no: "+r.Header.Get("Authorization")+secret, http.StatusForbidden)
		return
	}
	s.inner.ServeHTTP(w, r)
}

func serve(t *testing.T) *server {
	t.Helper()
	s := &server{inner: gofakes3.New(s3mem.New()).Server()}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	t.Setenv("AWS_ENDPOINT_URL", h.URL)
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", secret)
	t.Setenv("AWS_SESSION_TOKEN", "")
	b, err := open(place)
	if err == nil {
		err = b.client.MakeBucket(t.Context(), "bucket", minio.MakeBucketOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// saved makes a run with checkpoints of so many values.
func saved(t *testing.T, values int, steps ...int64) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for name, text := range map[string]string{rundir.LogFile: fmt.Sprintf("{\"begun\":%q}\n", dir),
		rundir.LockFile:   "me",
		rundir.ConfigFile: "a = 1\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range steps {
		save(t, dir, values, step, 1)
	}
	return dir
}

func save(t *testing.T, dir string, values int, step int64, value float32) {
	t.Helper()
	data := make([]float32, values)
	for i := range data {
		data[i] = value + float32(i)
	}
	_, err := checkpoint.Save(durable.OS, rundir.CheckpointsOf(dir), &checkpoint.Snapshot{Step: step,
		Files: map[string][]byte{"state.json": []byte(`{}`)},
		Model: []safetensors.Entry{{Name: "w", Shape: []int{values}, Data: data}}})
	if err != nil {
		t.Fatal(err)
	}
}

// copied makes a copy of a run, and expects that it is whole.
func copied(t *testing.T, dir string) {
	t.Helper()
	m, err := Open(place, dir)
	if err == nil {
		err = m.Close(time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// tree is the content of all files below dir but the lock.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == rundir.LockFile {
			return err
		}
		raw, err := os.ReadFile(p)
		name, _ := filepath.Rel(dir, p)
		all[name] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func same(t *testing.T, a, b string) {
	t.Helper()
	as, bs := tree(t, a), tree(t, b)
	for name := range as {
		if as[name] != bs[name] {
			t.Errorf("%s differs: %d and %d bytes", name, len(as[name]), len(bs[name]))
		}
	}
	if len(as) != len(bs) {
		t.Errorf("%d and %d files", len(as), len(bs))
	}
}

// What was copied comes back whole, with checkpoints of more than one part; what the run does not keep any more is
// gone, and what was saved again is new.
func TestThereAndBack(t *testing.T) {
	serve(t)
	dir := saved(t, 20<<20/4+7, 5, 10)
	copied(t, dir)
	if err := os.RemoveAll(filepath.Join(rundir.CheckpointsOf(dir), "step-5")); err != nil {
		t.Fatal(err)
	}
	save(t, dir, 100, 10, 2) // in place of another of that step
	save(t, dir, 100, 15, 3)
	longer := fmt.Appendf(nil, "{\"begun\":%q}\n{}\n", dir)
	if err := os.WriteFile(filepath.Join(dir, rundir.LogFile), longer, 0o666); err != nil {
		t.Fatal(err)
	}
	copied(t, dir)
	back := filepath.Join(t.TempDir(), "runs", "back")
	if err := Fetch(t.Context(), place, back); err != nil {
		t.Fatal(err)
	}
	same(t, dir, back)
	if err := Fetch(t.Context(), place, back); !errors.Is(err, rundir.ErrExists) {
		t.Errorf("over a run: %v", err)
	}
	if left, _ := os.ReadDir(filepath.Dir(back)); len(left) != 1 {
		t.Errorf("left beside the run: %v", left)
	}
}

// A checkpoint without a manifest is none, and a damaged one is passed over; where none is whole nothing is made.
func TestFetchTakesTheNewestWhole(t *testing.T) {
	serve(t)
	dir := saved(t, 100, 5, 10, 15)
	copied(t, dir)
	b, err := open(place)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.remove(t.Context(), "checkpoints/step-15/manifest.json"); err != nil {
		t.Fatal(err)
	}
	damage := func(name string) {
		t.Helper()
		text := "other"
		_, err := b.client.PutObject(t.Context(), b.name, b.key(name), strings.NewReader(text), int64(len(text)),
			minio.PutObjectOptions{DisableContentSha256: true})
		if err != nil {
			t.Fatal(err)
		}
	}
	damage("checkpoints/step-10/model.safetensors")
	damage("checkpoints/step-5/../../escape")
	parent := t.TempDir()
	back := filepath.Join(parent, "back")
	if err := Fetch(t.Context(), place, back); err != nil {
		t.Fatal(err)
	}
	infos, err := checkpoint.List(durable.OS, rundir.CheckpointsOf(back))
	if err != nil || len(infos) != 1 || infos[0].Step != 5 {
		t.Errorf("%+v, %v", infos, err)
	}
	damage("checkpoints/step-5/state.json")
	if err := Fetch(t.Context(), place, filepath.Join(parent, "none")); !errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("none is whole: %v", err)
	}
	if left, _ := os.ReadDir(parent); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

// A server that fails is told once, without secrets; when it is back the copy becomes whole. The end waits, but not for
// long, and says what is missing.
func TestFailure(t *testing.T) {
	s := serve(t)
	dir := saved(t, 100, 5)
	m, err := Open(place, dir)
	if err != nil {
		t.Fatal(err)
	}
	news := func() *News {
		for range 600 {
			if n := m.News(); n != nil {
				return n
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatal("no news")
		return nil
	}
	s.broken.Store(true)
	m.Changed()
	n := news()
	if n.Err == nil || strings.Contains(n.Err.Error(), secret) {
		t.Errorf("a server that refuses: %v", n.Err)
	}
	m.Changed()
	s.broken.Store(false)
	m.Changed()
	if n = news(); n.Err != nil {
		t.Errorf("a server that is back: %v", n.Err)
	}
	save(t, dir, 100, 10, 1)
	s.broken.Store(true)
	if err := m.Close(20 * time.Second); err == nil || !strings.Contains(err.Error(), "lacks step-10") ||
		strings.Contains(err.Error(), secret) {
		t.Errorf("at the end: %v", err)
	}
}

// A server that does not answer holds nobody up.
func TestHang(t *testing.T) {
	hang := make(chan struct{})
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer h.Close()
	defer close(hang)
	serve(t)
	t.Setenv("AWS_ENDPOINT_URL", h.URL)
	m, err := Open(place, saved(t, 100, 5))
	if err != nil {
		t.Fatal(err)
	}
	m.Changed()
	closed := make(chan error)
	go func() { closed <- m.Close(100 * time.Millisecond) }()
	select {
	case err := <-closed:
		if err == nil {
			t.Error("nothing is missing")
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for a server that does not answer")
	}
}

// Where another run lies nothing is written or removed.
func TestOtherRun(t *testing.T) {
	serve(t)
	first := saved(t, 100, 5)
	copied(t, first)
	m, err := Open(place, saved(t, 100, 9))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(time.Minute); !errors.Is(err, ErrOther) {
		t.Errorf("%v", err)
	}
	back := filepath.Join(t.TempDir(), "back")
	if err := Fetch(t.Context(), place, back); err != nil {
		t.Fatal(err)
	}
	same(t, first, back)
}

// What the server gives back is compared with what was written.
func TestReadBack(t *testing.T) {
	s := serve(t)
	whole := s.inner
	s.inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "model.safetensors") {
			body, _ := io.ReadAll(r.Body)
			body[len(body)/2] ^= 1
			r.Body = io.NopCloser(strings.NewReader(string(body)))
		}
		whole.ServeHTTP(w, r)
	})
	m, err := Open(place, saved(t, 100, 5))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(time.Minute); err == nil || !strings.Contains(err.Error(), "differs from what was written") {
		t.Errorf("%v", err)
	}
	if err := Fetch(context.Background(), place, filepath.Join(t.TempDir(), "x")); !errors.Is(err, checkpoint.ErrNone) {
		t.Errorf("%v", err)
	}
}

func TestNames(t *testing.T) {
	t.Setenv("AWS_ENDPOINT_URL", "")
	t.Setenv("AWS_ENDPOINT_URL_S3", "")
	for _, bad := range []string{"", "bucket/x", "s3://", "s3://bucket", "s3://bucket/", "s3://key:secret@bucket/x",
		"s3://bucket/a/../b", "s3://bucket/../b", "s3://bucket/.", "s3://bucket/x?y"} {
		if _, err := open(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "") // nor a file with one
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(t.TempDir(), "none"))
	if _, err := open(place); err == nil || !strings.Contains(err.Error(), "no credentials: set AWS_ACCESS_KEY_ID") {
		t.Errorf("without credentials: %v", err)
	}
	t.Setenv("AWS_ENDPOINT_URL", "http://me:"+secret+"@host")
	if _, err := open(place); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("credentials in the endpoint: %v", err)
	}
}

// What a link leads to is not copied.
func TestLinks(t *testing.T) {
	serve(t)
	dir := saved(t, 100, 5)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "private"), []byte(secret), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"notes.txt", "checkpoints/step-5/more.json"} {
		if err := os.Symlink(filepath.Join(outside, "private"), filepath.Join(dir, name)); err != nil {
			t.Skip(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, rundir.Refused)); err != nil {
		t.Fatal(err)
	}
	m, err := Open(place, dir)
	if err != nil {
		t.Fatal(err)
	}
	m.Close(time.Minute) // whether it is whole does not matter here
	b, err := open(place)
	if err != nil {
		t.Fatal(err)
	}
	there, err := b.list(t.Context())
	if err != nil || there["checkpoints/step-5/manifest.json"] == 0 {
		t.Fatalf("%v, %v", there, err)
	}
	for name := range there {
		if strings.Contains(name, "notes") || strings.Contains(name, "more") || strings.Contains(name, "private") {
			t.Errorf("%s was copied", name)
		}
	}
}

// Cut off after any write or removal, a copy is none yet or a run that goes on: with its configuration, and with a log
// that is as long as its newest checkpoint needs.
func TestCutOff(t *testing.T) {
	for k := 0; ; k++ {
		s := serve(t)
		whole, left := s.inner, k
		s.inner = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut || r.Method == http.MethodDelete {
				if left--; left < 0 {
					http.Error(w, "cut off", http.StatusForbidden)
					return
				}
			}
			whole.ServeHTTP(w, r)
		})
		dir := saved(t, 10, 5)
		m, err := Open(place, dir)
		if err != nil {
			t.Fatal(err)
		}
		if m.Close(time.Minute) == nil {
			save(t, dir, 10, 10, 1)
			if err := os.RemoveAll(filepath.Join(rundir.CheckpointsOf(dir), "step-5")); err != nil {
				t.Fatal(err)
			}
			log := fmt.Appendf(nil, "{\"begun\":%q}\n{}\n", dir)
			if err := os.WriteFile(filepath.Join(dir, rundir.LogFile), log, 0o666); err != nil {
				t.Fatal(err)
			}
			if m, err = Open(place, dir); err != nil {
				t.Fatal(err)
			}
			err = m.Close(time.Minute)
		} else {
			err = errors.New("cut off")
		}
		back := filepath.Join(t.TempDir(), "back")
		switch ferr := Fetch(t.Context(), place, back); {
		case errors.Is(ferr, checkpoint.ErrNone):
		case ferr != nil:
			t.Fatalf("after %d writes: %v", k, ferr)
		default:
			got, want := tree(t, back), tree(t, dir)
			_, new := got["checkpoints/step-10/manifest.json"]
			if got[rundir.ConfigFile] == "" || got[rundir.LogFile] == "" ||
				new && got[rundir.LogFile] != want[rundir.LogFile] {
				t.Errorf("after %d writes a run comes back that cannot go on: %d files", k, len(got))
			}
		}
		if err == nil {
			if k < 10 {
				t.Errorf("only %d writes", k)
			}
			return
		}
	}
}
