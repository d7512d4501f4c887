package sniff

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf8"
)

// format is a kind of file that is not text, told by bytes near its start.
type format struct {
	name  string // of one such file
	at    int    // where magic lies
	magic string
	nul   bool // it is certain only with a NUL byte: the magic could be a word
}

// Kinds that several magics or functions share. A kind is a noun whose plural has an s behind its first words.
const (
	Image         = "image"
	audioFile     = "audio file"
	videoFile     = "video"
	programFile   = "program"
	Archive       = "archive"
	Pickle        = "pickle file"
	arrowFile     = "Arrow file"
	fontFile      = "font"
	TokenizerFile = "tokenizer file"
	IDs           = "array of token ids"
	Binary        = "binary file"
	LFSPointer    = "Git LFS pointer"
	packedFile    = "file packed with bzip2, xz or LZ4"
	parquetFile   = "Parquet file without the ending .parquet"
)

// lfsPointer begins what stands for a file that Git LFS has not fetched.
const lfsPointer = "version https://git-lfs.github.com/spec/"

var formats = []format{
	{"PDF file", 0, "%PDF-", false},
	{"RTF file", 0, `{\rtf`, false},
	{"PostScript file", 0, "%!PS", false},
	{"DjVu file", 0, "AT&TFORM", false},
	{"old Word or Excel file", 0, "\xD0\xCF\x11\xE0\xA1\xB1\x1A\xE1", false},

	{Archive, 257, "ustar", false},
	{Archive, 0, "7z\xBC\xAF\x27\x1C", false},
	{Archive, 0, "Rar!\x1A\x07", false},
	{Archive, 0, "!<arch>\n", false},
	{Archive, 0, "MSCF\x00\x00\x00\x00", false},
	{packedFile, 4, "1AY&SY", false}, // bzip2, after BZh and a digit
	{packedFile, 0, "\xFD7zXZ\x00", false},
	{packedFile, 0, "\x04\x22\x4D\x18", false},
	{packedFile, 0, "LZIP\x01", false},
	{packedFile, 0, "\x1F\x9D", false},

	{Image, 0, "\x89PNG\r\n\x1A\n", false},
	{Image, 0, "\xFF\xD8\xFF", false},
	{Image, 0, "GIF87a", true},
	{Image, 0, "GIF89a", true},
	{Image, 0, "BM", true},
	{Image, 0, "II*\x00", false},
	{Image, 0, "MM\x00*", false},
	{Image, 8, "WEBP", true},
	{Image, 0, "\x00\x00\x01\x00", true},
	{Image, 4, "ftyphei", false},
	{Image, 4, "ftypavif", false},
	{Image, 0, "8BPS\x00", false},
	{Image, 0, "\x00\x00\x00\x0CJXL ", false},
	{audioFile, 8, "WAVEfmt ", false},
	{audioFile, 0, "ID3", true},
	{audioFile, 0, "\xFF\xFB", true},
	{audioFile, 0, "\xFF\xF3", true},
	{audioFile, 0, "OggS\x00", false},
	{audioFile, 0, "fLaC\x00", false},
	{audioFile, 0, "MThd\x00", false},
	{audioFile, 4, "ftypM4A", false},
	{videoFile, 4, "ftyp", true},
	{videoFile, 8, "AVI LIST", false},
	{videoFile, 0, "\x1A\x45\xDF\xA3", false},
	{videoFile, 0, "FLV\x01", false},
	{fontFile, 0, "wOFF", true},
	{fontFile, 0, "wOF2", true},
	{fontFile, 0, "OTTO\x00", false},
	{fontFile, 0, "\x00\x01\x00\x00\x00", true},

	{programFile, 0, "\x7FELF", false},
	{programFile, 0, "MZ", true},
	{programFile, 0, "\xCA\xFE\xBA\xBE", false},
	{programFile, 0, "\xCF\xFA\xED\xFE", false},
	{programFile, 0, "\xCE\xFA\xED\xFE", false},
	{programFile, 0, "\x00asm", false},

	{Pickle, 0, "(dp0\n", false},
	{Pickle, 0, "(lp0\n", false},
	{Pickle, 0, "ccopy_reg\n", false},
	{"NumPy array", 0, "\x93NUMPY", false},
	{arrowFile, 0, "ARROW1\x00\x00", false},
	{arrowFile, 0, "FEA1", true},
	{arrowFile, 0, "\xFF\xFF\xFF\xFF", true}, // an Arrow stream
	{parquetFile, 0, "PAR1", true},
	{"ORC file", 0, "ORC", true},
	{"Avro file", 0, "Obj\x01", false},
	{"HDF5 file", 0, "\x89HDF\r\n\x1A\n", false},
	{"SQLite database", 0, "SQLite format 3\x00", false},
	{"GGUF model", 0, "GGUF", true},
	{"GGUF model", 0, "lmgg", true},
	{LFSPointer, 0, lfsPointer, false},
}

// converts is what Advice says of most kinds.
var converts = map[string]string{
	"PDF file":               "take the text out of PDF (pdftotext FILE FILE.txt)",
	"RTF file":               "take the text out of RTF (pandoc -f rtf -t plain FILE)",
	"PostScript file":        "take the text out of PostScript (ps2ascii FILE)",
	"DjVu file":              "take the text out of DjVu (djvutxt FILE)",
	"Word document":          "take the text out of Word documents (pandoc -t plain FILE)",
	"spreadsheet":            "write spreadsheets as .jsonl, " + aLine,
	"presentation":           "save presentations as text",
	"OpenDocument file":      "take the text out of OpenDocument (pandoc -t plain FILE)",
	"EPUB book":              "take the text out of EPUB (pandoc -t plain FILE)",
	"old Word or Excel file": "save old Office files as text",
	Archive:                  "unpack archives",
	packedFile:               "unpack such files, or pack them with gzip or zstd",
	Pickle:                   "write what was pickled as .jsonl, " + aLine + ", where you trust it",
	"NumPy array":            "numbers are not read: give the text itself",
	IDs:                      "decode token ids with the tokenizer that made them: to another they mean nothing",
	arrowFile:                "write Arrow as Parquet with a column \"text\"",
	"ORC file":               "write ORC as Parquet with a column \"text\"",
	"Avro file":              "write Avro as Parquet with a column \"text\"",
	"HDF5 file":              "write the texts of HDF5 as .jsonl, " + aLine,
	"SQLite database":        "write the texts of a database as .jsonl, " + aLine,
	parquetFile:              "rename Parquet files to end in .parquet",
	LFSPointer:               "fetch what Git LFS pointers stand for (git lfs pull)",
}

// unmarked follows the encoding in the name of a kind.
const unmarked = " file without a byte order mark"

// Advice says what to do with a file of a kind that is no text; "" where there is no text in it.
func Advice(kind string) string {
	if encoding, ok := strings.CutSuffix(kind, unmarked); ok {
		return fmt.Sprintf("set data.encoding = %q, or convert it", encoding)
	}
	return converts[kind]
}

const aLine = "a line {\"text\": …} for each text"

// Wide reports whether only NUL bytes tell that a file of a kind is no text. An encoding may have such bytes.
func Wide(kind string) bool {
	return kind == Binary || kind == IDs || strings.HasSuffix(kind, unmarked)
}

// Kind says what kind of file begins with head and has size bytes; "" for text. It does not look at byte order marks.
func Kind(head []byte, size int64) string {
	nul := bytes.IndexByte(head, 0) >= 0
	for _, f := range formats {
		if (nul || !f.nul) && len(head) > f.at && bytes.HasPrefix(head[f.at:], []byte(f.magic)) {
			return f.name
		}
	}
	wide := ""
	if nul {
		wide = wideEncoding(head)
	}
	switch {
	case isPickle(head):
		return Pickle
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return zipKind(head)
	case isTokenizer(head):
		return TokenizerFile
	case isSafetensors(head, size):
		return "safetensors file"
	case !nul:
		return ""
	case wide != "":
		return wide + unmarked
	case isIDs(head, size):
		return IDs
	}
	return Binary
}

// zipKind tells what a zip archive holds by the names near its start.
func zipKind(head []byte) string {
	for _, k := range []struct{ inside, kind string }{
		{"mimetypeapplication/epub", "EPUB book"},
		{"mimetypeapplication/vnd.oasis.opendocument", "OpenDocument file"},
		{"word/", "Word document"}, {"xl/", "spreadsheet"}, {"ppt/", "presentation"},
		{"data.pkl", Pickle}, {".npy", "NumPy array"},
	} {
		if bytes.Contains(head, []byte(k.inside)) {
			return k.kind
		}
	}
	if bytes.Contains(head, []byte("[Content_Types].xml")) {
		return "Word document"
	}
	return Archive
}

// isPickle knows Python's pickle from protocol 2 on: the protocol, then an operation with which a value begins.
func isPickle(head []byte) bool {
	return len(head) > 2 && head[0] == 0x80 && head[1] >= 2 && head[1] <= 5 &&
		strings.IndexByte("\x95}](cX\x8CKJGN)\x8E\x8F\x8AMBC.q\x88\x89", head[2]) >= 0
}

// isTokenizer knows a tokenizer.json by its first keys.
func isTokenizer(head []byte) bool {
	return bytes.HasPrefix(head, []byte("{")) && bytes.Contains(head, []byte(`"added_tokens"`)) &&
		bytes.Contains(head, []byte(`"version"`))
}

// isSafetensors knows a safetensors file by the length of its header, which is JSON.
func isSafetensors(head []byte, size int64) bool {
	if len(head) < 10 || head[8] != '{' {
		return false
	}
	n := binary.LittleEndian.Uint64(head)
	return n >= 2 && size > 8 && n <= uint64(size)-8
}

// isIDs reports whether a file with NUL bytes could be an array of token ids of two or four bytes, as nanoGPT and
// others write it: no value is beyond any vocabulary. Values of other data are; text with a NUL is told by its
// characters.
func isIDs(head []byte, size int64) bool {
	const least, vocabulary2, vocabulary4 = 64, 0xF000, 1 << 18
	if size%2 != 0 || len(head) < 2*least {
		return false
	}
	var bad InvalidUTF8
	bad.Write(head)
	if bad.End() < utf8.UTFMax && bytes.Count(head, []byte{0}) < len(head)*2/5 {
		return false
	}
	two, four := true, size%4 == 0 && len(head) >= 4*least
	for i := 0; i+4 <= len(head); i += 4 {
		v := binary.LittleEndian.Uint32(head[i:])
		four = four && v < vocabulary4
		two = two && v&0xFFFF < vocabulary2 && v>>16 < vocabulary2
	}
	return two || four
}
