package attach

import (
	"fmt"

	"github.com/imagegate/imagegate/internal/trust"
)

// pending is a verified attachment that is not stored yet.
type pending struct {
	key       identityKey
	signature trust.Signature // set only for a signature in the legacy format
	envelope  trust.Envelope  // nil for a signature in the legacy format
}

// encode verifies the attachments in a and returns them ready for storing, separately for each
// signature format. It returns an error for a signature in a format that f does not select.
func (o owner) encode(f trust.Format, a Attachments) (legacy, bundles []pending, err error) {
	if err := f.Check(); err != nil {
		return nil, nil, err
	}
	for _, s := range a.Signatures {
		switch {
		case s.Statement == nil && !f.HasLegacy():
			return nil, nil, fmt.Errorf("a signature in the legacy format cannot be stored in the %s format", f)
		case s.Statement != nil && !f.HasBundle():
			return nil, nil, fmt.Errorf("a signature in the bundle format cannot be stored in the %s format", f)
		case s.Statement == nil:
			key, err := o.signatureKey(s)
			if err != nil {
				return nil, nil, err
			}
			legacy = append(legacy, pending{key: key, signature: s})
		default:
			one, err := o.asBundle(s.Statement)
			if err != nil {
				return nil, nil, err
			}
			bundles = append(bundles, one)
		}
	}
	for _, e := range a.Envelopes {
		if f.HasLegacy() {
			key, _, err := o.statementKey(e)
			if err != nil {
				return nil, nil, err
			}
			legacy = append(legacy, pending{key: key, envelope: e})
		}
		if f.HasBundle() {
			one, err := o.asBundle(e)
			if err != nil {
				return nil, nil, err
			}
			bundles = append(bundles, one)
		}
	}
	return legacy, bundles, nil
}

func (o owner) asBundle(e trust.Envelope) (pending, error) {
	key, by, err := o.statementKey(e)
	if err != nil {
		return pending{}, err
	}
	bundle, err := e.AsBundle(by.Key)
	if err != nil {
		return pending{}, err
	}
	return pending{key: key, envelope: bundle}, nil
}

// layer encodes the attachment as a layer of a tag.
func (p pending) layer() (attachment, error) {
	var layer trust.Layer
	var err error
	if p.envelope == nil {
		layer, err = p.signature.Layer()
	} else {
		layer, err = p.envelope.Layer(p.key.kind)
	}
	if err != nil {
		return attachment{}, err
	}
	return newAttachment(layer.Body, layer.MediaType, layer.Annotations)
}
