package judge

// similarity is how alike the texts of prompts are: (prompts, prompts) sums and numbers of cosines.
type similarity struct {
	sum, count [][]float64
}

// compare returns the similarity of texts, of which each belongs to a prompt. A text is not compared with itself; a
// nil vector is no text.
func compare(vectors [][]float64, prompt []int, prompts int) similarity {
	s := similarity{make([][]float64, prompts), make([][]float64, prompts)}
	for p := range prompts {
		s.sum[p], s.count[p] = make([]float64, prompts), make([]float64, prompts)
	}
	for i, a := range vectors {
		for j := range i {
			if b := vectors[j]; a != nil && b != nil {
				d := dot(a, b)
				p, q := prompt[i], prompt[j]
				s.sum[p][q] += d
				s.count[p][q]++
				if p != q {
					s.sum[q][p] += d
					s.count[q][p]++
				}
			}
		}
	}
	return s
}

// within is W, the mean cosine of texts of one prompt: the mean over prompts. between is X, that of texts of different
// prompts. Both are NaN where there is nothing to compare.
func (s similarity) within(weight []int) float64 {
	sum, n := 0.0, 0.0
	for p, w := range weight {
		if c := s.count[p][p]; c > 0 && w > 0 {
			sum += float64(w) * s.sum[p][p] / c
			n += float64(w)
		}
	}
	return sum / n
}

func (s similarity) between(weight []int) float64 {
	sum, n := 0.0, 0.0
	for p, w := range weight {
		for q := range p {
			if c := s.count[p][q]; c > 0 {
				both := float64(w * weight[q])
				sum += both * s.sum[p][q] / c
				n += both
			}
		}
	}
	return sum / n
}

// Consistency is C = (W - X) / (1 - X): how much more alike the texts of one prompt are than those of different ones.
// A model that always writes the same has W = X = 1 and C = 0.
func Consistency(within, between float64) float64 {
	const same = 1 - 1e-9
	if between > same {
		return 0
	}
	return (within - between) / (1 - between)
}

func (s similarity) consistency(weight []int) float64 {
	return Consistency(s.within(weight), s.between(weight))
}
