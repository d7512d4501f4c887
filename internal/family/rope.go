package family

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"gimbal/internal/config"
)

// rope reads base and scaling from either spelling. Where both are there they must agree.
func (r *reader) rope(a *config.Arch, f form) {
	base, share := f.thetaKey(), 0.0
	if r.has(base) {
		a.RopeTheta = r.positive(base)
	}
	if f.local && r.has("rope_local_base_freq") {
		a.LocalTheta = r.positive("rope_local_base_freq")
	}
	if f.share == "" {
		r.only("partial_rotary_factor", "1", "1.0")
	} else if r.has(f.share) {
		share = r.positive(f.share)
	}
	original := 0 // of longrope, where it stands beside the scaling
	if a.Shape == "phi3" {
		original = r.size("original_max_position_embeddings", 4096, maxPlaces)
	}
	scales := 0
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		if !r.has(key) || Off(key, r.keys[key]) {
			continue
		}
		in, err := newReader(r.keys[key])
		if err != nil {
			r.fault(key, "is broken: %v", err)
			continue
		}
		if f.local && key == "rope_parameters" {
			in = r.nested(in, a, key)
		}
		if scale := in.ropeScale(*a, original); scale.Kind != "" {
			if scales > 0 && scale != a.RopeScale {
				in.fault("factor", "and the others differ from those of rope_scaling")
			}
			scales++
			a.RopeScale = scale
		} else if a.RopeScale.Kind != "" {
			in.fault("rope_type", `is "default", but rope_scaling has %q`, a.RopeScale.Kind)
		}
		in.same("rope_theta", &a.RopeTheta)
		if f.share == "" {
			in.only("partial_rotary_factor", "1", "1.0")
		} else {
			in.same("partial_rotary_factor", &share)
		}
		r.inner(key, in)
	}
	if a.RopeTheta = cmp.Or(a.RopeTheta, f.theta); a.RopeTheta == 0 && len(r.Faults) == 0 {
		r.fault(base, "is missing, here and in rope_parameters")
	}
	if f.local {
		a.LocalTheta = cmp.Or(a.LocalTheta, 1e4)
	}
	if share = cmp.Or(share, f.part); f.share != "" {
		if a.Rotary = int(float64(a.HeadSize) * min(share, 2)); a.Rotary < 2 {
			r.fault(f.share, "is %v, which turns no channels of a head of %d", share, a.HeadSize)
		}
		if a.Rotary == a.HeadSize {
			a.Rotary = 0
		}
	}
	if s := a.RopeScale; s.Kind == "longrope" {
		if wrong := divisors(s, a.RotarySize()/2); wrong != "" {
			r.fault("rope_scaling", "%s", wrong)
		}
		if a.Context > s.Original { // within it one list of divisors is used for all sequences
			a.Context, a.Positions = s.Original, a.Context
		}
	}
}

// inner takes the faults of an object inside.
func (r *reader) inner(key string, in *reader) {
	in.rest()
	for _, f := range in.Faults {
		r.Add("%s: %s", key, f)
	}
}

// nested reads what rope_parameters says of local layers, and returns what it says of the others.
func (r *reader) nested(in *reader, a *config.Arch, key string) *reader {
	part := func(name string) *reader {
		p, err := newReader(in.keys[name])
		if in.known[name] = true; err != nil {
			in.fault(name, "is missing or broken")
			p = &reader{known: map[string]bool{}}
		}
		return p
	}
	full, local := part(fullAttention), part(localAttention)
	local.only("rope_type", `"default"`)
	local.same("rope_theta", &a.LocalTheta)
	local.only("partial_rotary_factor", "1", "1.0")
	in.inner(localAttention, local)
	r.inner(key, in)
	return full
}

// same reads a number that must be what *x is already, unless that is 0.
func (r *reader) same(key string, x *float64) {
	if !r.has(key) {
		return
	}
	v := r.positive(key)
	if *x != 0 && v != *x {
		r.fault(key, "is %v, but %v outside", v, *x)
	}
	*x = v
}

// divisors returns what is wrong with the lists of longrope, which need n numbers each.
func divisors(s config.RopeScale, n int) string {
	for i, text := range []string{s.Short, s.Long} {
		key := [...]string{"short_factor", "long_factor"}[i]
		var list []float64
		if err := json.Unmarshal([]byte(text), &list); err != nil || len(list) != n ||
			slices.ContainsFunc(list, func(x float64) bool { return !(x > 0) }) {
			return fmt.Sprintf("%s is no list of %d numbers above 0", key, n)
		}
	}
	return ""
}

// ropeScale reads the scaling of one spelling. Its Kind is empty where nothing is scaled.
func (r *reader) ropeScale(a config.Arch, original int) (s config.RopeScale) {
	kind := "default"
	r.read("type", &kind) // the old name of rope_type
	r.read("rope_type", &kind)
	if kind == "linear" || kind == "dynamic" {
		factor := 0.0
		if r.read("factor", &factor); factor == 1 { // stretches nothing
			kind = "default"
		}
	}
	if a.Shape == "phi3" && (kind == "su" || kind == "yarn") { // older names
		kind = "longrope"
	}
	s.Kind = kind
	within := func(byDefault int) int {
		return r.size("original_max_position_embeddings", byDefault, maxPlaces)
	}
	switch kind {
	case "default":
		r.only("factor", "1", "1.0")
		if original > 0 {
			within(original)
		}
		return config.RopeScale{}
	case "linear", "dynamic":
		s.Factor = r.positive("factor")
	case "llama3":
		s.Factor, s.Low, s.High = r.positive("factor"), r.positive("low_freq_factor"), r.positive("high_freq_factor")
		if s.Original = within(0); !(s.High > s.Low) {
			r.fault("high_freq_factor", "is %v, not above low_freq_factor, %v", s.High, s.Low)
		}
	case "yarn":
		r.yarn(&s)
		s.Original = within(a.Context)
	case "longrope":
		s.Short, s.Long = r.list("short_factor"), r.list("long_factor")
		if s.Original = within(max(original, 1)); original > 0 {
			s.Original = original // the library prefers it
		} else if !r.has("original_max_position_embeddings") {
			s.Original = a.Context
		}
		s.Gain = longGain(a.Context, s.Original)
		if factor := r.number("factor", 0); factor > 0 {
			s.Gain = 1
			if factor > 1 {
				s.Gain = math.Sqrt(1 + math.Log(factor)/math.Log(float64(s.Original)))
			}
		}
		if gain := r.number("attention_factor", 0); gain > 0 {
			s.Gain = gain
		}
		return s
	default:
		key := "rope_type"
		if !r.has(key) {
			key = "type"
		}
		r.fault(
			key,
			`is %q, which is not supported (only "default", "llama3", "linear", "dynamic", "yarn" or "longrope")`,
			kind,
		)
		for key := range r.keys { // of a kind that is refused already
			r.known[key] = true
		}
		return config.RopeScale{}
	}
	if !(s.Factor >= 1) {
		r.fault("factor", "is %v, below 1", s.Factor)
	}
	return s
}

// yarn reads the keys of YaRN.
//
// Source: Peng et al. 2023, arXiv:2309.00071, as transformers has it.
func (r *reader) yarn(s *config.RopeScale) {
	s.Factor = r.positive("factor")
	s.Low, s.High = cmp.Or(r.number("beta_slow", 1), 1), cmp.Or(r.number("beta_fast", 32), 32)
	round := true
	r.read("truncate", &round)
	s.Exact = !round
	gain := func(scale float64) float64 { return 1 + 0.1*scale*math.Log(max(1, s.Factor)) }
	all, own := r.number("mscale_all_dim", 0), r.number("mscale", 0)
	if s.Gain = gain(1); all > 0 && own > 0 {
		s.Gain = gain(own) / gain(all)
	}
	if given := r.number("attention_factor", 0); given > 0 {
		s.Gain = given
	}
}

// list returns a list as text without spaces.
func (r *reader) list(key string) string {
	var b bytes.Buffer
	if r.need(key) && json.Compact(&b, r.keys[key]) != nil {
		r.fault(key, "is %.40s, no list", r.keys[key])
	}
	return b.String()
}
