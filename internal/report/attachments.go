package report

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/imagegate/imagegate/internal/units"
)

// Attachment is a signature or a statement that is attached to an image or to one of its platforms.
// It may be untrusted: anyone with push access can attach it.
type Attachment struct {
	// Subject is the digest of the image or platform that this is attached to. Platform is empty
	// for the whole image.
	Subject  string `json:"subject"`
	Platform string `json:"platform,omitempty"`
	// Format is "legacy" or "bundle".
	Format string `json:"format"`
	// PredicateType is empty if it cannot be read.
	PredicateType string `json:"predicateType"`
	Signature     bool   `json:"signature"` // a signature instead of a statement
	// Digest is the SHA-256 of the signed content, "sha256:<hex>", or empty if that cannot be read.
	Digest string `json:"digest,omitempty"`
	// Signer is the signer, or only a claim if Trusted is false.
	Signer AttachedSigner `json:"signer"`
	// Logged is when a log or a timestamp authority saw the signature. The time is verified only
	// if LogVerified is true.
	Logged      time.Time `json:"logged,omitzero"`
	LogVerified bool      `json:"logVerified,omitempty"`
	// Result and Decided are the result and the time of a trusted decision.
	Result  string    `json:"result,omitempty"`
	Decided time.Time `json:"decided,omitzero"`
	// Trusted: the signer is trusted and the content is about this image. If false, Reason says why
	// it does not count.
	Trusted bool   `json:"trusted"`
	Reason  string `json:"reason,omitempty"`
}

// AttachedSigner is a key or an identity. It is empty if the signer is unknown.
type AttachedSigner struct {
	// Key is the SHA-256 of the public key in DER, "sha256:<hex>".
	Key     string `json:"key,omitempty"`
	Subject string `json:"subject,omitempty"`
	Issuer  string `json:"issuer,omitempty"`
}

// TextAfterError writes only the signatures and statements attached to the image, if they were
// requested. After a failed run, the rest of the text report is already on standard error.
func (o TextOptions) TextAfterError(w io.Writer, r Report) error { return o.attachmentsText(w, r) }

// attachmentsText writes only the signatures and statements attached to the image. It writes
// nothing if they were not requested. After a failed run, this list helps the user to find the
// reason.
func (o TextOptions) attachmentsText(w io.Writer, r Report) error {
	if r.Attachments == nil {
		return nil
	}
	t := text{Writer: o.layout(w), Report: r}
	t.field("Image", short(t.Input.Image.Reference))
	t.field("Digest", short(t.Input.Image.Digest))
	t.attached()
	if err := t.Flush(); err != nil {
		return fmt.Errorf("writing the attachments: %w", err)
	}
	return nil
}

// attached lists the signatures and statements. The ones attached to the whole image come first.
func (t text) attached() {
	if t.Attachments == nil {
		return
	}
	counting := 0
	for _, a := range t.Attachments {
		if a.Trusted {
			counting++
		}
	}
	t.Section(fmt.Sprintf("Attached signatures and statements: %d, %d trusted", len(t.Attachments), counting))
	subject := ""
	for _, a := range t.Attachments {
		if a.Subject != subject {
			subject = a.Subject
			t.Space()
			t.Item(2, "attached to "+short(cmp.Or(a.Platform, "the image"))+" "+short(a.Subject))
		}
		t.attachment(a)
	}
}

func (t text) attachment(a Attachment) {
	kind := short(cmp.Or(a.PredicateType, "a statement of unknown type"))
	if a.Signature {
		kind = "signature"
	}
	t.Space()
	t.Item(4, fmt.Sprintf("%s (%s)", kind, short(a.Format)))
	if a.Digest != "" {
		t.Item(6, short(a.Digest))
	}
	says := "signed by "
	if !a.Trusted {
		says = "claims to be signed by "
	}
	switch {
	case a.Signer.Key != "":
		t.Item(6, says+"key "+short(a.Signer.Key))
	case a.Signer != (AttachedSigner{}):
		t.Item(6, says+short(a.Signer.Subject)+", issuer "+short(a.Signer.Issuer))
	default:
		t.Item(6, "unknown signer")
	}
	if a.Result != "" {
		t.Item(6, short(a.Result)+", decided "+units.Instant(a.Decided)+t.age(a.Decided))
	}
	switch {
	case a.Logged.IsZero():
	case a.LogVerified:
		t.Item(6, "logged "+units.Instant(a.Logged)+t.age(a.Logged)+", verified")
	default:
		t.Item(6, "claims to be logged "+units.Instant(a.Logged)+t.age(a.Logged))
	}
	if !a.Trusted {
		t.Item(6, "ignored: "+Sanitize(a.Reason))
	}
}
