package family

import (
	"bytes"
	"encoding/json"
	"slices"

	"gimbal/internal/config"
)

// layers reads what differs between layers.
func (r *reader) layers(a *config.Arch, f form) {
	if _, there := r.keys["sliding_window"]; f.window && !there {
		a.Window = f.wide
	} else if f.window && r.has("sliding_window") {
		a.Window = r.size("sliding_window", 0, maxPlaces)
	}
	if a.Shape == "smollm3" {
		r.plain(a, f)
	}
	if !r.has("layer_types") || Off("layer_types", r.keys["layer_types"]) {
		if f.window && f.types {
			every := f.every
			for _, key := range []string{"sliding_window_pattern", "_sliding_window_pattern"} {
				every = r.size(key, every, maxLayers)
			}
			r.alternate(a, config.Layers(a.Layers, every, config.Local, config.Full))
		}
	} else if types := r.types(a); f.window && f.types {
		r.alternate(a, types)
	} else if i := bytes.IndexByte(types, config.Local); i >= 0 {
		r.fault("layer_types", "has %q for layer %d; only %s is supported", localAttention, i, fullAttention)
	}
	for _, key := range []string{"sliding_window_pattern", "_sliding_window_pattern"} { // layer_types says it
		r.known[key] = r.known[key] || f.window && f.types
	}
}

// alternate sets local and full layers.
func (r *reader) alternate(a *config.Arch, letters []byte) {
	if a.Window == 0 && bytes.IndexByte(letters, config.Local) >= 0 {
		r.fault("sliding_window", "is missing, and layer_types has %s", localAttention)
	}
	a.Alternate(letters)
}

// GPT-Neo's names of attention, and its window where the file does not say it.
const (
	globalAttention = "global"
	nearAttention   = "local"
	usualWindow     = 256
)

// turns reads which layers of GPT-Neo are local: kinds in turn, and how often; and again for each layer.
func (r *reader) turns(a *config.Arch) {
	turns := [][2]json.RawMessage{{json.RawMessage(`["global","local"]`), json.RawMessage("12")}}
	r.read("attention_types", &turns)
	var all []string
	for _, turn := range turns {
		var kinds []string
		times := 0
		if json.Unmarshal(turn[0], &kinds) != nil || json.Unmarshal(turn[1], &times) != nil || len(kinds) == 0 {
			r.fault("attention_types", "is %.60s, not kinds and how often", r.keys["attention_types"])
			return
		}
		for ; times > 0 && len(all) <= a.Layers; times-- {
			all = append(all, kinds...)
		}
	}
	each := slices.Clone(all)
	if r.read("attention_layers", &each); len(all) != a.Layers || !slices.Equal(each, all) {
		r.fault("attention_types", "names other layers than the %d, or than attention_layers", a.Layers)
		return
	}
	letters := make([]byte, a.Layers)
	for i, kind := range all {
		switch letters[i] = config.Full; kind {
		case globalAttention:
		case nearAttention:
			letters[i] = config.Local
		default:
			r.fault("attention_types", "has %.40q for layer %d; only %s and %s are supported", kind, i, globalAttention,
				nearAttention)
		}
	}
	a.Alternate(letters)
}

// types reads layer_types.
func (r *reader) types(a *config.Arch) []byte {
	var types []string
	r.read("layer_types", &types)
	if len(types) != a.Layers {
		r.fault("layer_types", "names %d layers of %d", len(types), a.Layers)
		return nil
	}
	p := make([]byte, len(types))
	for i, t := range types {
		switch t {
		case fullAttention:
			p[i] = config.Full
		case localAttention:
			p[i] = config.Local
		default:
			r.fault("layer_types", "has %.40q for layer %d; only %s is supported", t, i, fullAttention)
			return nil
		}
	}
	return p
}

// plain reads the layers without RoPE.
func (r *reader) plain(a *config.Arch, f form) {
	const key = "no_rope_layers"
	every := r.size("no_rope_layer_interval", f.every, maxLayers)
	a.Alternate(config.Layers(a.Layers, every, config.Full, config.Plain))
	if !r.has(key) || Off(key, r.keys[key]) {
		return
	}
	var rope []int
	if r.read(key, &rope); len(rope) < a.Layers {
		r.fault(key, "names %d layers of %d", len(rope), a.Layers)
		return
	}
	p := make([]byte, a.Layers)
	for i := range p {
		if p[i] = config.Full; rope[i] == 0 {
			p[i] = config.Plain
		}
	}
	a.Alternate(p)
}
