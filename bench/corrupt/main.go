// Command corrupt damages every file of a run and of an export, one at a time, and wants each damage to be named or to
// change nothing.
//
//	go -C bench run ./corrupt -n 10000 -state corrupt.json
//
// Damage number i of a seed is always the same. The state holds what was counted, so that a run of the program that was
// stopped goes on where it was.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	n := flag.Int("n", 10000, "damages in all")
	seed := flag.Uint64("seed", 1, "seed of the damages")
	state := flag.String("state", "", "file of what was counted; empty: none")
	work := flag.String("work", "", "folder of the run and the export; empty: a temporary one")
	flag.Parse()
	if err := do(*n, *seed, *state, *work); err != nil {
		log.Fatal(err)
	}
}

// do damages until n damages are counted.
func do(n int, seed uint64, state, work string) (err error) {
	if work == "" {
		if work, err = os.MkdirTemp("", "corrupt-"); err != nil {
			return err
		}
		defer os.RemoveAll(work)
	}
	c := &counts{Seed: seed, By: map[string]*tally{}}
	if raw, err := os.ReadFile(state); err == nil {
		if err := json.Unmarshal(raw, c); err != nil || c.Seed != seed {
			return fmt.Errorf("%s is not of seed %d: %w", state, seed, err)
		}
	} else if state != "" && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s, err := newSubject(work)
	if err != nil {
		return err
	}
	for c.Done < n {
		r, err := s.damage(seed, c.Done)
		if err != nil {
			return err
		}
		c.add(r)
		if state != "" && (c.Done%100 == 0 || c.Done == n) {
			raw, err := json.MarshalIndent(c, "", "  ")
			if err == nil {
				err = os.WriteFile(state, raw, 0o666)
			}
			if err != nil {
				return err
			}
		}
	}
	c.print()
	if c.missed() > 0 {
		return fmt.Errorf("%d damages were neither named nor harmless", c.missed())
	}
	return nil
}

// counts is what was counted.
type counts struct {
	Seed   uint64            `json:"seed"`
	Done   int               `json:"done"`
	By     map[string]*tally `json:"by"` // kind of file
	Missed []string          `json:"missed,omitempty"`
}

// tally counts the damages to a kind of file.
type tally struct {
	Named    int `json:"named"`
	Harmless int `json:"harmless"` // every result is the same
	Prose    int `json:"prose"`    // text for people changed, which they may edit; every result is the same
	Missed   int `json:"missed"`
}

func (c *counts) add(r result) {
	t := c.By[r.kind]
	if t == nil {
		t = &tally{}
		c.By[r.kind] = t
	}
	c.Done++
	switch r.verdict {
	case named:
		t.Named++
	case harmless:
		t.Harmless++
	case prose:
		t.Prose++
	default:
		t.Missed++
		c.Missed = append(c.Missed, r.String())
	}
}

func (c *counts) missed() (n int) {
	for _, t := range c.By {
		n += t.Missed
	}
	return n
}

func (c *counts) print() {
	fmt.Printf("%d damages, seed %d\n%-36s %8s %9s %7s %7s\n", c.Done, c.Seed, "file", "named", "harmless", "prose",
		"missed")
	var all tally
	for _, kind := range slices.Sorted(maps.Keys(c.By)) {
		t := c.By[kind]
		fmt.Printf("%-36s %8d %9d %7d %7d\n", filepath.ToSlash(kind), t.Named, t.Harmless, t.Prose, t.Missed)
		all.Named, all.Harmless = all.Named+t.Named, all.Harmless+t.Harmless
		all.Prose, all.Missed = all.Prose+t.Prose, all.Missed+t.Missed
	}
	fmt.Printf("%-36s %8d %9d %7d %7d\n", "all", all.Named, all.Harmless, all.Prose, all.Missed)
	for _, text := range c.Missed {
		fmt.Println("missed:", text)
	}
}
