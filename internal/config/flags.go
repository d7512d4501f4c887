package config

import (
	"strconv"
	"time"
)

// Flags are the settings of a run that have a flag of their own on the command line and a field in the Go API. Faults
// and origins name the flags.
type Flags struct {
	Data   []string      // data.paths; none: not given
	Steps  *int64        // train.steps; nil: not given
	Budget time.Duration // train.budget; 0: not given
	Seed   *uint64       // train.seed; nil: not given
	Keep   []string      // eval.keep; none: not given
	Device string        // numeric.device; empty: not given
	Set    []string      // each key=value
}

// Load reads a configuration file, if path names one, and applies the flags over it; see the function Load.
func (f Flags) Load(path string) (*Config, error) {
	var sets []Assignment
	if len(f.Data) > 0 {
		sets = append(sets, Assignment{Key: "data.paths", List: f.Data, Origin: "flag --data"})
	}
	if f.Steps != nil {
		steps := strconv.FormatInt(*f.Steps, 10)
		sets = append(sets, Assignment{Key: "train.steps", Value: steps, Origin: "flag --steps"})
	}
	if f.Budget != 0 {
		minutes := strconv.FormatFloat(f.Budget.Minutes(), 'g', -1, 64)
		sets = append(sets, Assignment{Key: "train.budget", Value: minutes, Origin: "flag --budget"})
	}
	if f.Seed != nil {
		seed := strconv.FormatUint(*f.Seed, 10)
		sets = append(sets, Assignment{Key: "train.seed", Value: seed, Origin: "flag --seed"})
	}
	if len(f.Keep) > 0 {
		sets = append(sets, Assignment{Key: "eval.keep", List: f.Keep, Origin: "flag --keep"})
	}
	if f.Device != "" {
		sets = append(sets, Assignment{Key: "numeric.device", Value: f.Device, Origin: "flag --device"})
	}
	for _, s := range f.Set {
		sets = append(sets, Set(s))
	}
	return Load(path, sets)
}
