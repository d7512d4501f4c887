package family

import (
	"encoding/json"
	"maps"
	"math"

	"gimbal/internal/config"
)

// writeRope writes RoPE as older and as newer readers look for it.
func writeRope(c map[string]any, a config.Arch, f form) {
	scaling := scaleKeys(a)
	parameters := map[string]any{"rope_type": "default", "rope_theta": float(a.RopeTheta)}
	maps.Copy(parameters, scaling)
	c[f.thetaKey()] = float(a.RopeTheta)
	c["rope_scaling"], c["rope_parameters"] = nil, parameters
	if scaling != nil {
		c["rope_scaling"] = scaling
	}
	if f.share != "" {
		share := float(a.RotarySize()) / float(a.HeadSize)
		if int(float64(a.HeadSize)*float64(share)) < a.RotarySize() { // readers cut the product off
			share = float(math.Nextafter(float64(share), 2))
		}
		c[f.share], parameters["partial_rotary_factor"] = share, share
	}
	if a.Shape == "phi3" && a.RopeScale.Kind == "longrope" {
		c["original_max_position_embeddings"] = a.RopeScale.Original
		old := maps.Clone(scaling)
		old["type"] = old["rope_type"]
		for _, key := range []string{"rope_type", "original_max_position_embeddings"} { // older ones want three keys
			delete(old, key)
		}
		c["rope_scaling"] = old
	}
	if f.local {
		c["rope_local_base_freq"] = float(a.LocalTheta)
		c["rope_parameters"] = map[string]any{fullAttention: parameters,
			localAttention: map[string]any{"rope_type": "default", "rope_theta": float(a.LocalTheta)}}
	}
}

// scaleKeys are the keys of a scaling, nil without one.
func scaleKeys(a config.Arch) map[string]any {
	s := a.RopeScale
	if s.Kind == "" {
		return nil
	}
	c := map[string]any{"rope_type": s.Kind, "factor": float(s.Factor)}
	if s.Original > 0 {
		c["original_max_position_embeddings"] = s.Original
	}
	switch s.Kind {
	case "llama3":
		c["low_freq_factor"], c["high_freq_factor"] = float(s.Low), float(s.High)
	case "yarn":
		c["beta_slow"], c["beta_fast"], c["truncate"] = float(s.Low), float(s.High), !s.Exact
		c["attention_factor"] = float(s.Gain)
	case "longrope":
		c["short_factor"], c["long_factor"] = json.RawMessage(s.Short), json.RawMessage(s.Long)
		if delete(c, "factor"); s.Gain != longGain(max(a.Context, a.Positions), s.Original) {
			c["attention_factor"] = float(s.Gain)
		}
	}
	return c
}

// longGain is the usual Gain of longrope for the longest sequence.
//
// Source: Ding et al. 2024, arXiv:2402.13753, as transformers has it.
func longGain(longest, original int) float64 {
	if longest <= original {
		return 1
	}
	return math.Sqrt(1 + math.Log(float64(longest)/float64(original))/math.Log(float64(original)))
}
