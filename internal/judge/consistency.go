package judge

// similarity is the sums and counts of cosines between the texts of each pair of prompts: (prompts, prompts).
type similarity struct {
	sum, count [][]float64
}

// similarities are the metrics of similarity, as functions of the weights of the prompts.
var similarities = map[string]func(s similarity, weight []int) float64{
	"within": similarity.within, "between": similarity.between, "consistency": similarity.consistency,
}

// compare returns the similarity of texts, each of which belongs to a prompt. A text is not compared with itself; a nil
// vector is no text.
func compare(vectors [][]float64, prompt []int, prompts int) similarity {
	s := similarity{make([][]float64, prompts), make([][]float64, prompts)}
	for p := range prompts {
		s.sum[p], s.count[p] = make([]float64, prompts), make([]float64, prompts)
	}
	for i, a := range vectors {
		for j, b := range vectors[:i] {
			if a != nil && b != nil {
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

// within is W: the mean cosine between texts of one prompt, as the mean over prompts. NaN: nothing to compare.
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

// between is X: the mean cosine between texts of different prompts. NaN: nothing to compare.
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

func (s similarity) consistency(weight []int) float64 {
	return Consistency(s.within(weight), s.between(weight))
}

// Consistency is C = (W - X) / (1 - X): how much more similar the texts of one prompt are than those of different ones.
// A model that always writes the same has W = X = 1 and C = 0.
func Consistency(within, between float64) float64 {
	const same = 1 - 1e-9
	if between > same {
		return 0
	}
	return (within - between) / (1 - between)
}
