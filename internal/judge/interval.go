package judge

import (
	"math"
	"slices"

	"gimbal/internal/rng"
)

// Estimate is a measured number with its 95 % interval.
type Estimate struct {
	Value float64 `json:"value"`
	Lo    float64 `json:"lo"`
	Hi    float64 `json:"hi"`
	SE    float64 `json:"se"` // standard error
}

// resamples is how many times prompts are drawn again for an interval.
const resamples = 1000

// draws is how often each of n clusters is drawn in each resample: (resamples, n). It depends on n only, so all
// evaluations use the same draws.
func draws(n int) [][]int {
	key := rng.New(0, rng.Bootstrap).Sub(uint64(n))
	all := make([][]int, resamples)
	for b := range all {
		all[b] = make([]int, n)
		for i := range n {
			all[b][int(key.Float64(uint64(b*n+i))*float64(n))]++
		}
	}
	return all
}

// bootstrap is the estimate of a statistic, whose value under weights of the clusters is stat. NaNs are left out.
//
// Source: the percentile interval of Efron 1979, with whole clusters (prompts) drawn, because samples of one prompt are
// not independent.
func bootstrap(clusters int, stat func(weight []int) float64) Estimate {
	value := stat(slices.Repeat([]int{1}, clusters))
	var again []float64
	for _, w := range draws(clusters) {
		if v := stat(w); !math.IsNaN(v) {
			again = append(again, v)
		}
	}
	if len(again) < 2 || math.IsNaN(value) {
		return Estimate{Value: value, Lo: value, Hi: value}
	}
	slices.Sort(again)
	at := func(q float64) float64 { return again[int(q*float64(len(again)-1)+0.5)] }
	_, sd := meanSD(again)
	return Estimate{Value: value, Lo: at(0.025), Hi: at(0.975), SE: sd}
}

// bootstrapMean is the estimate of the mean of values, each of which belongs to a cluster. NaNs are left out; the
// estimate is NaN if nothing remains.
func bootstrapMean(values []float64, cluster []int, clusters int) Estimate {
	sum, count := make([]float64, clusters), make([]float64, clusters)
	for i, v := range values {
		if !math.IsNaN(v) {
			sum[cluster[i]] += v
			count[cluster[i]]++
		}
	}
	return bootstrap(clusters, func(weight []int) float64 {
		s, n := 0.0, 0.0
		for c, w := range weight {
			s += float64(w) * sum[c]
			n += float64(w) * count[c]
		}
		return s / n // NaN when nothing was drawn
	})
}

// jackknife is the estimate of a statistic of a set, from its values without each cluster. A bootstrap would draw a
// cluster twice, and statistics of a set measure just such repetition.
//
// Source: Tukey 1958; the interval is ±1.96 standard errors.
func jackknife(value float64, without []float64) Estimate {
	n := float64(len(without))
	mean, ss := 0.0, 0.0
	for _, v := range without {
		mean += v / n
	}
	for _, v := range without {
		ss += (v - mean) * (v - mean)
	}
	se := math.Sqrt(ss * (n - 1) / n)
	if n < 2 || math.IsNaN(se) {
		return Estimate{Value: value, Lo: value, Hi: value}
	}
	return Estimate{Value: value, Lo: value - 1.96*se, Hi: value + 1.96*se, SE: se}
}

// numbers returns the values that are not NaN.
func numbers(values []float64) []float64 { return slices.DeleteFunc(slices.Clone(values), math.IsNaN) }

// meanSD returns mean and standard deviation of the values that are numbers. The deviation of fewer than two is 0.
func meanSD(values []float64) (mean, sd float64) {
	values = numbers(values)
	n := float64(len(values))
	for _, v := range values {
		mean += v
	}
	mean /= n
	for _, v := range values {
		sd += (v - mean) * (v - mean)
	}
	if n < 2 {
		return mean, 0
	}
	return mean, math.Sqrt(sd / (n - 1))
}

// meanSE returns the mean of the values that are numbers, and its standard error.
func meanSE(values []float64) (mean, se float64) {
	mean, sd := meanSD(values)
	return mean, sd / math.Sqrt(max(1, float64(len(numbers(values)))))
}

// median is the median of values, NaN of none. It changes nothing.
func median(values []float64) float64 {
	s := slices.Clone(values)
	slices.Sort(s)
	switch n := len(s); {
	case n == 0:
		return nan
	case n%2 == 1:
		return s[n/2]
	default:
		return (s[n/2-1] + s[n/2]) / 2
	}
}
