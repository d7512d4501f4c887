package par

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// jobFunc adapts a function; tests that count allocations use pointers.
type jobFunc func(worker, lo, hi int)

func (f jobFunc) Part(worker, lo, hi int) { f(worker, lo, hi) }

func newPool(t testing.TB, workers int) *Pool {
	p := New(workers)
	t.Cleanup(p.Close)
	return p
}

// TestShares checks that the shares cover [0, n) once, in order of the workers,
// begin at multiples of the grain and differ by at most one grain.
func TestShares(t *testing.T) {
	for workers := 1; workers <= 5; workers++ {
		p := newPool(t, workers)
		if p.Workers() != workers {
			t.Fatalf("Workers() = %d, want %d", p.Workers(), workers)
		}
		for _, n := range []int{0, 1, 2, 3, 7, 8, 31, 32, 33, 100} {
			for _, grain := range []int{-1, 0, 1, 2, 7, 8, 200} {
				spans := make([][2]int, workers)
				p.Do(n, grain, jobFunc(func(w, lo, hi int) { spans[w] = [2]int{lo, hi} }))
				g, at, least, most := max(grain, 1), 0, n, 0
				for w, s := range spans {
					if s == [2]int{} {
						continue
					}
					if s[0] != at || s[0]%g != 0 || s[1] <= s[0] {
						t.Fatalf("%d workers, n %d, grain %d: worker %d got %v after %d", workers, n, grain, w, s, at)
					}
					at = s[1]
					units := (s[1] - s[0] + g - 1) / g
					least, most = min(least, units), max(most, units)
				}
				if at != n || most > least+1 {
					t.Fatalf("%d workers, n %d, grain %d: shares %v", workers, n, grain, spans)
				}
			}
		}
	}
}

// TestManyLoops hands memory from loop to loop without atomics: the race
// detector and the sums tell if a loop begins before the last one ended.
func TestManyLoops(t *testing.T) {
	for workers := 1; workers <= 5; workers++ {
		p := newPool(t, workers)
		data := make([]int, 64)
		loops := 2000
		for k := range loops {
			p.Do(len(data), 1, jobFunc(func(_, lo, hi int) {
				for i := lo; i < hi; i++ {
					data[len(data)-1-i] += k // another worker's share of the last loop but one
				}
			}))
			if k%500 == 0 {
				time.Sleep(3 * spinTime) // let the workers park
			}
		}
		for i, v := range data {
			if v != loops*(loops-1)/2 {
				t.Fatalf("%d workers: data[%d] = %d", workers, i, v)
			}
		}
	}
}

func TestPanicReachesCaller(t *testing.T) {
	planted := errors.New("planted")
	for workers := 2; workers <= 5; workers++ {
		p := newPool(t, workers)
		for culprit := 0; culprit < workers; culprit++ {
			var finished atomic.Int32
			var got any
			func() {
				defer func() { got = recover() }()
				p.Do(workers, 1, jobFunc(func(w, _, _ int) {
					if w == culprit {
						panic(planted)
					}
					time.Sleep(time.Millisecond)
					finished.Add(1)
				}))
			}()
			if err, ok := got.(error); !ok || !errors.Is(err, planted) {
				t.Fatalf("worker %d of %d: recovered %v", culprit, workers, got)
			}
			if culprit > 0 {
				f, ok := got.(*Panic)
				if !ok || f.Worker != culprit || !strings.Contains(f.Error(), "TestPanicReachesCaller") {
					t.Fatalf("worker %d: %v does not show where it came from", culprit, got)
				}
			}
			if int(finished.Load()) != workers-1 {
				t.Fatalf("Do returned while %d workers ran", workers-1-int(finished.Load()))
			}
			checkWorks(t, p)
		}
		// All at once: one of them arrives, the pool survives.
		func() {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			p.Do(workers, 1, jobFunc(func(w, _, _ int) { panic(fmt.Sprint("worker ", w)) }))
		}()
		checkWorks(t, p)
	}
}

// TestNestedPanic checks a pool inside another's worker, whose panic passes
// through both, and that a job may not use its own pool.
func TestNestedPanic(t *testing.T) {
	outer, inner := newPool(t, 2), newPool(t, 2)
	planted := errors.New("planted")
	var got any
	func() {
		defer func() { got = recover() }()
		outer.Do(2, 1, jobFunc(func(w, _, _ int) {
			if w == 1 {
				inner.Do(2, 1, jobFunc(func(w, _, _ int) {
					if w == 1 {
						panic(planted)
					}
				}))
			}
		}))
	}()
	if err, ok := got.(error); !ok || !errors.Is(err, planted) {
		t.Errorf("recovered %v", got)
	}
	checkWorks(t, outer)
	checkWorks(t, inner)
	func() {
		defer func() {
			if got := recover(); got != "par: nested or concurrent Do" {
				t.Errorf("nested Do: recovered %v", got)
			}
		}()
		outer.Do(1, 1, jobFunc(func(int, int, int) { outer.Do(1, 1, jobFunc(func(int, int, int) {})) }))
	}()
	checkWorks(t, outer)
}

// TestGoexit checks that a job that ends its goroutine, as a failing test does,
// neither hangs Do nor loses the worker.
func TestGoexit(t *testing.T) {
	p := newPool(t, 2)
	func() {
		defer func() {
			if f, ok := recover().(*Panic); !ok || f.Value != "goroutine exited inside a Job" {
				t.Errorf("recovered %v", f)
			}
		}()
		p.Do(2, 1, jobFunc(func(w, _, _ int) {
			if w == 1 {
				runtime.Goexit()
			}
		}))
	}()
	checkWorks(t, p)
}

func checkWorks(t *testing.T, p *Pool) {
	t.Helper()
	sum := make([]int, p.Workers())
	p.Do(100, 1, jobFunc(func(w, lo, hi int) {
		for i := lo; i < hi; i++ {
			sum[w] += i
		}
	}))
	total := 0
	for _, s := range sum {
		total += s
	}
	if total != 4950 {
		t.Fatalf("the pool no longer works: sum %d", total)
	}
}

func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	p := New(4)
	checkWorks(t, p)
	p.Close()
	p.Close()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines remain of %d", runtime.NumGoroutine(), before)
		}
	}
	defer func() {
		if got := recover(); got != "par: Do after Close" {
			t.Errorf("recovered %v", got)
		}
	}()
	p.Do(1, 1, jobFunc(func(int, int, int) {}))
}

type addJob struct{ data []int }

func (j *addJob) Part(_, lo, hi int) {
	for i := lo; i < hi; i++ {
		j.data[i]++
	}
}

func TestAllocs(t *testing.T) {
	p := newPool(t, 3)
	j := &addJob{make([]int, 99)}
	if got := testing.AllocsPerRun(100, func() { p.Do(len(j.data), 1, j) }); got != 0 {
		t.Errorf("Do allocates %g times", got)
	}
}

// TestIdlePoolParks checks by the state of the flags that waiting workers sleep.
func TestIdlePoolParks(t *testing.T) {
	p := newPool(t, 2)
	checkWorks(t, p)
	deadline, state := time.Now().Add(10*time.Second), &p.helpers[0].start.state
	for ; state.Load() != parked; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("an idle worker never parked")
		}
	}
	checkWorks(t, p)
}

func BenchmarkDo(b *testing.B) {
	p := newPool(b, 0)
	j := &addJob{make([]int, 2)}
	for b.Loop() {
		p.Do(len(j.data), 1, j)
	}
}
