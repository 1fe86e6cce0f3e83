package promote_test

import (
	"context"
	"crypto"
	"fmt"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/imagegate/imagegate/gate"
	"github.com/imagegate/imagegate/internal/trust"
	"github.com/imagegate/imagegate/promote"
)

// Promote an image that passed. Only package gate creates an Approval.
func ExamplePromoter_Promote() {
	var (
		approval *gate.Approval // the field Approval of the result of gate.Check
		signer   *trust.Signer
	)
	p, err := promote.New(promote.Options{Signer: signer, VerifierOptions: promote.VerifierOptions{Now: time.Now}})
	if err != nil {
		fmt.Println(err)
		return
	}
	tag, err := name.NewTag("approved.example/team/app:1.4")
	if err != nil {
		fmt.Println(err)
		return
	}
	records, err := p.Promote(context.Background(), approval, tag)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(records[0].Reference())
}

// Verify that an image in the approved registry passed. The zero value of Trust trusts no signer.
func ExampleVerifier_Verify() {
	var key crypto.PublicKey // the public key in cosign.pub
	v, err := promote.NewVerifier(promote.VerifierOptions{Now: time.Now})
	if err != nil {
		fmt.Println(err)
		return
	}
	tag, err := name.NewTag("approved.example/team/app:1.4")
	if err != nil {
		fmt.Println(err)
		return
	}
	record, err := v.Verify(context.Background(), tag, promote.Trust{Trust: trust.Trust{Keys: []crypto.PublicKey{key}}})
	if err != nil {
		fmt.Println(err) // the image does not prove that it passed
		return
	}
	fmt.Println(record.Decision.Result)
}
