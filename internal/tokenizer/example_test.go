package tokenizer_test

import (
	"context"
	"fmt"

	"gimbal/internal/tokenizer"
)

func Example() {
	docs := func(yield func([]byte, error) bool) {
		_ = yield([]byte("the cat and the hat"), nil) && yield([]byte("the rat"), nil)
	}
	tok, report, err := tokenizer.TrainBPE(context.Background(), docs, tokenizer.TrainOptions{VocabSize: 300})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(report.VocabSize, "tokens of 300: the corpus supports no more")
	ids, _ := tok.Append(nil, []byte("the bat"))
	for _, id := range ids {
		fmt.Printf("%q ", tok.Bytes(id))
	}
	fmt.Printf("%s\n", tok.Decode(nil, ids))
	// Output:
	// 260 tokens of 300: the corpus supports no more
	// "the" " " "b" "at" the bat
}
