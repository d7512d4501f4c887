package checkpoint

import (
	"errors"
	"io/fs"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gimbal/internal/durable/crash"
)

// certify adds a certificate to a snapshot.
func certify(t *testing.T, s *Snapshot, h Health) *Snapshot {
	t.Helper()
	data, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s.Files[HealthFile] = data
	return s
}

func TestHealthReadsBack(t *testing.T) {
	fsys := crash.New()
	want := Health{Version: 1, Finite: true, Verdict: "gradients in order", Events: []string{"E1-OUTLIER"},
		Metrics: map[string]float64{"rep3": 0.125}}
	c, err := Open(fsys, save(t, fsys, certify(t, snapshot(1, "a"), want)))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ReadHealth(c); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	c.Close()
	for name, tt := range map[string]struct {
		content string
		want    error
	}{"malformed": {"{", ErrCorrupt}, "newer": {`{"version": 2, "finite": true, "calm": true}`,
		ErrVersion}, "without version": {`{"finite": true, "calm": true}`, ErrVersion}} {
		s := snapshot(2, "a")
		s.Files[HealthFile] = []byte(tt.content)
		c, err := Open(fsys, save(t, fsys, s))
		if err != nil {
			t.Fatal(err)
		}
		if h, err := ReadHealth(c); !errors.Is(err, tt.want) || h.Healthy() {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
		c.Close()
	}
	c, err = Open(fsys, save(t, fsys, snapshot(3, "a")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := ReadHealth(c); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a certificate: %v", err)
	}
}

// The newest healthy checkpoint is found behind those that are not, and outlives all pruning; without its certificate
// it would not.
func TestNewestHealthyIsKept(t *testing.T) {
	good := Health{Finite: true, Calm: true}
	for name, tt := range map[string]struct {
		at3  Health
		left string
		path string
	}{
		"healthy":   {good, "step-3 step-9", "step-3"},
		"not calm":  {Health{Finite: true}, "step-1 step-9", "step-1"},
		"not sound": {Health{Calm: true}, "step-1 step-9", "step-1"},
	} {
		fsys := crash.New()
		for step := int64(1); step <= 9; step++ {
			s := snapshot(step, "a")
			switch step {
			case 1:
				certify(t, s, good)
			case 3:
				certify(t, s, tt.at3)
			case 4, 5: // whole, but nothing to come back to
				certify(t, s, Health{Finite: true, Events: []string{"E2-SUSTAINED"}})
			case 6: // healthy, and damaged below
				certify(t, s, good)
			}
			save(t, fsys, s)
		}
		damage(t, fsys, dir+"/step-6/"+ModelFile)
		path, refused, err := NewestHealthy(fsys, dir)
		if err != nil || filepath.Base(path) != tt.path {
			t.Errorf("%s: %s, %v", name, path, err)
		}
		if want := 9 - int(path[len(path)-1]-'0'); len(refused) != want {
			t.Errorf("%s: %d passed over, want %d", name, len(refused), want)
		}
		for _, r := range refused {
			if strings.Contains(r.Error(), "step-6") != errors.Is(r, ErrCorrupt) {
				t.Errorf("%s: %v", name, r)
			}
		}
		if _, err := Prune(fsys, dir, 1, nil); err != nil {
			t.Fatal(err)
		}
		if got := names(t, fsys); got != tt.left {
			t.Errorf("%s: left %s, want %s", name, got, tt.left)
		}
	}
	if _, _, err := NewestHealthy(crash.New(), dir); !errors.Is(err, ErrNone) {
		t.Errorf("an empty directory: %v", err)
	}
}
