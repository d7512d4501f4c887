package screen

import (
	"testing"

	"gimbal"
)

// What a fine-tuning came to is better or worse only where that is more than chance.
func TestTunedWords(t *testing.T) {
	for _, c := range []struct {
		u    gimbal.Tuned
		want string
	}{
		{gimbal.Tuned{Before: 3, After: 2.5, ChangeError: 0.02, Tokens: 12_400, OldBefore: 2, OldAfter: 2.1},
			"better than where it began by 0.500 ± 0.020 nats/token on 12.4k held-out tokens: 3.000, then 2.500; " +
				"on what it knew: 2.000, then 2.100"},
		{gimbal.Tuned{Before: 2.5, After: 3, ChangeError: 0.02, Tokens: 900},
			"worse than where it began by 0.500 ± 0.020 nats/token on 900 held-out tokens: 2.500, then 3.000"},
		{gimbal.Tuned{Before: 3, After: 2.5, ChangeError: 0.3, Tokens: 900},
			"no better than where it began, on 900 held-out tokens: 3.000, then 2.500 ± 0.300 nats/token"},
		{gimbal.Tuned{Before: 3, After: 2.5, ChangeError: 0.1, Tokens: 900, OldBefore: 2}, // begun by an older program
			"better than where it began by 0.500 ± 0.100 nats/token on 900 held-out tokens: 3.000, then 2.500"},
		{gimbal.Tuned{Before: 3, After: 2.5, Tokens: 900}, // one text: no error is known
			"better than where it began by 0.500 nats/token on 900 held-out tokens: 3.000, then 2.500"},
	} {
		if got := tuned(&c.u); got != c.want {
			t.Errorf("%+v:\n%s\nwant\n%s", c.u, got, c.want)
		}
	}
}
