package chat

import "iter"

// The roles that the house itself gives or looks for.
const (
	User      = "user"
	Assistant = "assistant"
)

// Roles are the roles that a message may have. Another one is refused: a misspelt "assistant" would be learned by
// nobody.
var Roles = []string{"system", User, Assistant, "tool"}

// TemplateFile is the name of the file that holds the template of a model's conversations.
const TemplateFile = "chat_template.jinja"

// Message is one turn of a conversation.
type Message struct {
	Role  string
	Text  []byte
	Learn bool // its words count in the loss: the assistant's, but for those that a "prompt" quotes
}

// Piece is one special token, or a run of text that is encoded on its own.
type Piece struct {
	Text    []byte // valid until the next piece; of a special token its name
	Token   int32  // the special token; -1: Text is text
	Counted bool   // its tokens count in the loss
}

// Format is how conversations are written for one tokenizer. Safe for concurrent use.
type Format interface {
	// Name is what a person calls the format.
	Name() string
	// Note says in a sentence how turns are marked.
	Note() string
	// Special returns the names of the special tokens that Render may yield, each of which the tokenizer has.
	Special() []string
	// Render yields a conversation as pieces, in order. Texts that stand together and count alike are one piece, and
	// no text is empty. The start token and the EOS of the document are not among them. A conversation that the format
	// cannot write ends with an error, which is the last thing yielded.
	Render(messages []Message) iter.Seq2[Piece, error]
	// Template returns a Jinja template, as transformers reads it, that writes what Render yields behind the token
	// named start ("" for none).
	Template(start string) string
	// TurnEnds returns the special tokens that end what the assistant says. Where marks are plain text there are none.
	TurnEnds() []int32
}

// Vocabulary is what a format has to know of a tokenizer.
type Vocabulary interface {
	// Added returns the id of the special token of that name, if there is one.
	Added(name string) (id int32, ok bool)
}

// For returns the format whose special tokens v has. For a tokenizer with the tokens of none it is ChatML as plain
// text.
func For(v Vocabulary) Format {
	for _, f := range []marks{chatML, llama3} {
		if f.bind(v) {
			return f
		}
	}
	f := chatML
	f.plain = true
	return f
}
