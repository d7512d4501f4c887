package judge

import "math"

// Exact tests of counts of texts. A share of few texts moves by chance: one text of thirty is three per cent.

// byChance is the chance below which a difference of counts is called real. It is small because texts of one prompt
// are not independent.
const byChance = 0.01

// atLeast is the chance of k or more of n, where each has the chance p: the tail of the binomial distribution.
func atLeast(k, n int, p float64) float64 {
	sum := 0.0
	for i := k; i <= n; i++ {
		sum += math.Exp(lnChoose(n, i) + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
	}
	return min(1, sum)
}

// atMost is the chance of k or fewer of n, where k of n and h of m have one chance in common: Fisher's exact test, one
// side.
func atMost(k, n, h, m int) float64 {
	sum := 0.0
	for i := max(0, k+h-m); i <= k; i++ {
		sum += math.Exp(lnChoose(n, i) + lnChoose(m, k+h-i) - lnChoose(n+m, k+h))
	}
	return min(1, sum)
}

// lnChoose is the logarithm of n over k.
func lnChoose(n, k int) float64 {
	ln := func(x int) float64 { v, _ := math.Lgamma(float64(x + 1)); return v }
	return ln(n) - ln(k) - ln(n-k)
}

// tooShort reports whether surely more than most of the texts end too early. An evaluation that an older version saved
// does not say how many texts it had; there the share alone decides.
func tooShort(m Metric, most float64) bool {
	return m.Value > most && (m.N == 0 || atLeast(count(m.Value, m.N), m.N, most) < byChance)
}

// endsTooRarely reports whether surely fewer texts end than human ones, and fewer than a share of that.
func endsTooRarely(m Metric, share float64) bool {
	if !(m.Value < share*m.Human) {
		return false
	}
	return m.N == 0 || atMost(count(m.Value, m.N), m.N, count(m.Human, m.HumanN), m.HumanN) < byChance
}

// count is how many of n a share is.
func count(share float64, n int) int { return int(math.Round(share * float64(n))) }
