package chat

import "iter"

// The roles that this program uses by name.
const (
	User      = "user"
	Assistant = "assistant"
)

// Roles are the roles that a message may have. Others are refused: nothing would be learned from a misspelt
// "assistant".
var Roles = []string{"system", User, Assistant, "tool"}

// TemplateFile is the name of the file with the template of a model's conversations.
const TemplateFile = "chat_template.jinja"

// Message is one turn of a conversation.
type Message struct {
	Role  string
	Text  []byte
	Learn bool   // its words count in the loss: the assistant's, except in a "prompt"
	More  []byte // the JSON object of the message, where it says more than role and text; nil: it does not
}

// Conversation is messages, and what their record says besides.
type Conversation struct {
	Messages []Message
	// More is a JSON object with "tools", "documents" and "chat_template_kwargs", each of which may be missing.
	More []byte
	Left int // set by Render: answers that are to be learned and do not count, because of how they are written
	// Lost is set by Render and Prompt: the roles of the messages whose words are not written, in their order. Answers
	// that are to be learned are not among them.
	Lost []string
}

// Piece is one special token, or a run of text that is encoded on its own.
type Piece struct {
	Text    []byte // valid until the next piece; of a special token its name
	Token   int32  // the special token; -1: this is text
	Counted bool   // its tokens count in the loss
	Joined  bool   // text that is encoded together with the text before it; a token counts if a part of it does
}

// Format is how conversations are written for one tokenizer. Safe for concurrent use.
type Format interface {
	// Name returns the name of the format.
	Name() string
	// Note says in a sentence how turns are marked.
	Note() string
	// Special returns the names of the special tokens that Render may yield. The tokenizer has them all.
	Special() []string
	// Render yields a conversation as pieces, in order. Neighbouring texts that count alike are one piece, and no text
	// is empty. A format of the house leaves out the start token and the EOS of the document; a model's own template
	// writes them. If the format cannot write the conversation, the only thing yielded is an error.
	Render(c *Conversation) iter.Seq2[Piece, error]
	// Prompt yields a conversation with what asks the assistant for its answer behind it. Nothing of it counts.
	Prompt(c *Conversation) iter.Seq2[Piece, error]
	// Template returns a Jinja template for transformers. It writes what Render yields, after the token named start (""
	// for none), which a model's own template writes by itself.
	Template(start string) string
	// TurnEnds returns the special tokens that end what the assistant says; none if the marks are plain text.
	TurnEnds() []int32
}

// Vocabulary is what a format needs of a tokenizer.
type Vocabulary interface {
	// Added returns the id of the special token of that name, if there is one.
	Added(name string) (id int32, ok bool)
}

// For returns the format whose special tokens v has. If v has the tokens of no format, it is ChatML as plain text.
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
