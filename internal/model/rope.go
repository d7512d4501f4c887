package model

import (
	"encoding/json"
	"math"

	"gimbal/internal/config"
)

// RopeFrequencies are the angles by which the RoPE of a layer turns the size channels of a head from one position to
// the next: the pair of channels j and j+size/2 by element j. Nil without RoPE.
//
// Formula: θ^(−2j/size), scaled as config.RopeScale says.
// Source: Su et al. 2021, arXiv:2104.09864.
func RopeFrequencies(l config.Layer, size int) []float64 {
	if l.Theta == 0 {
		return nil
	}
	freqs := make([]float64, size/2)
	for j := range freqs {
		freqs[j] = math.Pow(l.Theta, -2*float64(j)/float64(size))
	}
	s := l.Scale
	switch s.Kind {
	case "linear":
		for j := range freqs {
			freqs[j] /= s.Factor
		}
	case "llama3":
		for j, f := range freqs {
			freqs[j] = llama3(s, f)
		}
	case "yarn":
		yarn(s, freqs, l.Theta)
	case "longrope": // within Original
		var divisors []float64
		if json.Unmarshal([]byte(s.Short), &divisors) != nil || len(divisors) != len(freqs) {
			panic("model: divisors of rope do not fit the head")
		}
		for j, d := range divisors {
			freqs[j] /= d
		}
	}
	return freqs
}

// llama3 scales a frequency.
//
// Formula: with n = Original·f/2π turns within the original context: f/Factor where n < Low, f where n > High, and
// between them ((1−s)/Factor + s)·f with s = (n−Low)/(High−Low).
// Source: Grattafiori et al. 2024 (Llama 3), arXiv:2407.21783; rope type "llama3" of Hugging Face transformers.
func llama3(s config.RopeScale, f float64) float64 {
	turns := float64(s.Original) * f / (2 * math.Pi)
	switch {
	case turns > s.High:
		return f
	case turns < s.Low:
		return f / s.Factor
	}
	smooth := (turns - s.Low) / (s.High - s.Low)
	return ((1-smooth)/s.Factor + smooth) * f
}

// yarn scales frequencies: between the pairs that turn High and Low times within Original the divisor grows from 1 to
// Factor.
//
// Source: Peng et al. 2023, arXiv:2309.00071; rope type "yarn" of Hugging Face transformers.
func yarn(s config.RopeScale, freqs []float64, theta float64) {
	size := float64(2 * len(freqs))
	pair := func(turns float64) float64 {
		return size * math.Log(float64(s.Original)/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := pair(s.High), pair(s.Low)
	if !s.Exact {
		low, high = math.Floor(low), math.Ceil(high)
	}
	if low, high = max(low, 0), min(high, size-1); low == high {
		high += 0.001
	}
	for j, f := range freqs {
		ramp := min(1, max(0, (float64(j)-low)/(high-low)))
		freqs[j] = f/s.Factor*ramp + f*(1-ramp)
	}
}
