/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, ciphertexts and answers: meaning, error against its formula, distributions, hostile bytes,
 * digests. */
#include "test/test.h"

#include <math.h>
#include <sodium.h>

#include "crypto/he/he.h"
#include "crypto/ring.h"

static uint64_t state;
static struct err e;

struct party {
	const struct he_params *p;
	struct he_rng *rng;
	struct he_key *key;
	struct he_public *pk;
	struct he_work *work, *all;
	const struct he_key *ring;
	const struct he_public *public_ring;
	uint8_t *public;
};

/* To one of the set's rings. */
static void turn(struct party *t, int small)
{
	t->p = small ? t->p->small : t->p;
	t->ring = he_key_of(t->key, small);
	t->public_ring = he_public_of(t->pk, small);
	t->work = he_work_of(t->all, small);
}

static struct party party_of(enum he_set set, size_t terms)
{
	uint8_t seed[PRG_SEED_BYTES] = "a test's seed of thirty-two byte";
	struct party t = {.p = he_params(set)};

	t.rng = he_rng_new(seed, &e);
	t.key = he_key_new(set, t.rng, &e);
	t.all = he_work_new(set, terms, &e);
	t.public = malloc(he_public_bytes(set));
	assert_int_equal(he_key_public(t.key, t.rng, t.all, t.public, &e), 0);
	assert_int_equal(he_public_new(&t.pk, set, t.public, he_public_bytes(set), &e), 0);
	turn(&t, 0);
	return t;
}

static void leave(struct party *t)
{
	he_public_free(t->pk);
	he_work_free(t->all);
	he_key_free(t->key);
	he_rng_free(t->rng);
	free(t->public);
}

static uint32_t *poly(const struct he_params *p)
{
	return aligned_alloc(64, p->limbs * p->n * 4);
}

static void values(uint64_t *m, size_t n, unsigned k)
{
	for (size_t i = 0; i < n; i++)
		m[i] = test_random(&state) & ring_mask(k);
}

/* terms ciphertexts, each times a polynomial of a few weights below 2^weight; what comes back against
 * integers. */
struct error {
	double sum, square, greatest, norm2;
	size_t n;
};

static void product(struct party *t, unsigned limbs, unsigned k, unsigned up, unsigned to, unsigned cut,
		    size_t terms, size_t taps, unsigned weight, struct error *err)
{
	size_t n = t->p->n;
	uint64_t *m = calloc(6 * n, 8), *add = m + n, *want = m + 2 * n, *out0 = m + 3 * n, *out1 = m + 4 * n,
		 *opened = m + 5 * n;
	int64_t *w = calloc(n, 8);
	uint8_t seed[PRG_SEED_BYTES] = {(uint8_t)test_random(&state), (uint8_t)k},
		*sent = malloc(he_cipher_bytes(t->p, up));
	struct prg *half = prg_new(seed, PRG_HE_HALF, &e);
	const uint32_t *c0[4], *c1[4], *ws[4];
	uint32_t *made[12];

	values(add, n, k);
	memcpy(want, add, n * 8);
	for (size_t j = 0; j < terms; j++) {
		for (int i = 0; i < 3; i++)
			made[3 * j + i] = poly(t->p);
		values(m, n, k);
		memset(w, 0, n * 8);
		for (size_t i = 0; i < taps; i++) {
			size_t at = test_random(&state) % n;

			err->norm2 -= (double)w[at] * w[at];
			w[at] =
			    (int64_t)(test_random(&state) & ring_mask(weight)) - (INT64_C(1) << (weight - 1));
			err->norm2 += (double)w[at] * w[at];
		}
		for (size_t i = 0; i < n; i++) /* negacyclic, mod 2^k */
			for (size_t x = 0; w[i] && x < n; x++)
				want[(i + x) % n] +=
				    i + x < n ? (uint64_t)w[i] * m[x] : -((uint64_t)w[i] * m[x]);
		he_encrypt(t->ring, t->rng, half, j, limbs, k, up, m, t->work, sent);
		he_cipher_read(t->p, limbs, up, sent, half, j, t->work, made[3 * j], made[3 * j + 1]);
		he_weights(t->p, limbs, w, made[3 * j + 2]);
		c0[j] = made[3 * j], c1[j] = made[3 * j + 1], ws[j] = made[3 * j + 2];
	}
	for (size_t i = 0; i < n; i++)
		add[i] <<= 64 - k;
	he_answer(t->public_ring, t->rng, limbs, c0, c1, ws, terms, add, to, cut, t->work, out0, out1);
	he_open(t->ring, to, out1, t->work, opened);
	for (size_t i = 0; i < n; i++) {
		uint64_t got = ((out0[i] << cut) + opened[i]) & ring_mask(to);
		/* in units of 2^-to, exact: want is a multiple of 2^-k; k <= to or the error is taken at
		 * 2^-k */
		int64_t d = to >= k ? ring_signed(got - (want[i] << (to - k)), to)
				    : ring_signed((got << (k - to)) - want[i], k);
		double x = to >= k ? (double)d : ldexp((double)d, (int)to - (int)k);

		assert_true(out0[i] <= ring_mask(to - cut) && out1[i] <= ring_mask(to));
		err->sum += x;
		err->square += x * x;
		err->greatest = fmax(err->greatest, fabs(x));
	}
	err->n += n;
	for (size_t i = 0; i < 3 * terms; i++)
		free(made[i]);
	prg_free(half);
	free(sent);
	free(w);
	free(m);
}

/* §HE: rms √(N/18 + (σ ‖w‖₂ 2^to / Q)² + (‖w‖₂ 2^(to-up))² / 12), and 4^cut / 12 for c0's own rounding. */
static void held(struct party *t, unsigned limbs, unsigned k, unsigned up, unsigned to, unsigned cut,
		 size_t terms, size_t taps, unsigned weight)
{
	struct error err = {0};
	double noise, sent, want, rms;

	for (int i = 0; i < 3; i++)
		product(t, limbs, k, up, to, cut, terms, taps, weight, &err);
	sent = sqrt(err.norm2 / 36) * exp2((double)to - up);
	noise = sqrt(HE_NOISE_VARIANCE * (err.norm2 / 3 + 4.0 / 3 * (double)t->p->n)) *
		exp2(to - he_modulus_bits(t->p, limbs));
	want = sqrt(t->p->n / 18.0 + exp2(2 * cut) / 12 + noise * noise + sent * sent);
	rms = sqrt(err.square / err.n);
	if (rms < 0.9 * want || rms > 1.1 * want || err.greatest > 7 * want ||
	    fabs(err.sum / err.n) > 0.2 * want)
		fail_msg(
		    "N %zu, %u primes, k %u, %u up, %u down less %u: rms %g, want %g, greatest %g, mean %g",
		    t->p->n, limbs, k, up, to, cut, rms, want, err.greatest, err.sum / err.n);
}

static void answers(void **ctx)
{
	struct party s = party_of(HE_S, 4), l = party_of(HE_L, 4);

	held(&s, 2, 24, 56, 24, 0, 1, 9, 12);
	held(&s, 2, 24, 34, 24, 3, 1, 9, 12);
	held(&s, 2, 32, 52, 32, 4, 3, 50, 14);
	held(&s, 2, 37, 30, 39, 0, 1, 1, 2);
	held(&s, 2, 40, 41, 30, 2, 2, 9, 16);
	held(&l, 2, 24, 40, 24, 3, 1, 25, 16);
	held(&l, 2, 39, 56, 34, 0, 2, 100, 16);
	held(&l, 3, 41, 54, 41, 5, 4, 30, 18);
	held(&l, 3, 46, 56, 50, 1, 1, 30, 18);
	held(&l, 4, 48, 56, 48, 0, 2, 40, 20);
	held(&l, 4, 60, 56, 52, 3, 1, 40, 20);
	held(&l, 4, 1, 17, 16, 0, 1, 3, 8);
	turn(&s, 1);
	held(&s, 1, 12, 13, 16, 3, 3, 20, 7);
	held(&s, 1, 20, 26, 20, 0, 4, 60, 4);
	held(&s, 1, 1, 1, 12, 0, 1, 1, 1);
	held(&s, 1, 24, 55, 40, 0, 1, 40, 16);
	leave(&s);
	leave(&l);
}

/* A sum of no ciphertexts is a fresh encryption of what is added. */
static void nothing(void **ctx)
{
	struct party t = party_of(HE_L, 0);
	uint64_t add[HE_N_MAX], a[HE_N_MAX], b[HE_N_MAX], c[HE_N_MAX];

	values(add, HE_N_MAX, 20);
	for (size_t i = 0; i < HE_N_MAX; i++)
		add[i] <<= 44;
	he_answer(t.pk, t.rng, 2, NULL, NULL, NULL, 0, add, 34, 0, t.work, a, b);
	he_open(t.key, 34, b, t.work, c);
	for (size_t i = 0; i < HE_N_MAX; i++) {
		int64_t d = ring_signed(a[i] + c[i] - (add[i] >> 30), 34);

		assert_true(d > -200 && d < 200);
	}
	leave(&t);
}

static int64_t total(const uint64_t *x, size_t n)
{
	int64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += x[i] & 1;
	return sum;
}

/* The same ciphertext answered twice under the same weights differs in both halves, everywhere about half of
 * the time in the last bit. */
static void rerandomised(void **ctx)
{
	struct party t = party_of(HE_S, 1);
	size_t n = t.p->n;
	uint64_t *x = calloc(4 * n, 8);

	he_answer(t.pk, t.rng, 2, NULL, NULL, NULL, 0, NULL, 32, 0, t.work, x, x + n);
	he_answer(t.pk, t.rng, 2, NULL, NULL, NULL, 0, NULL, 32, 0, t.work, x + 2 * n, x + 3 * n);
	for (size_t i = 0; i < 2 * n; i++)
		x[i] ^= x[i + 2 * n];
	for (int h = 0; h < 2; h++) /* 12 standard deviations of a fair coin */
		assert_true(fabs(total(x + h * n, n) - n / 2.0) < 12 * sqrt(n) / 2);
	free(x);
	leave(&t);
}

static void distributions(void **ctx)
{
	enum { RUNS = 50 };
	static int8_t x[HE_N_MAX];
	double sum = 0, square = 0, fourth = 0, n = (double)RUNS * HE_N_MAX;
	struct he_rng *rng = he_rng_new((const uint8_t *)"noise and secrets, of 32 bytes..", &e);
	size_t count[3] = {0};

	for (int r = 0; r < RUNS; r++) {
		he_noise(rng, x, HE_N_MAX);
		for (size_t i = 0; i < HE_N_MAX; i++) {
			assert_true(x[i] >= -HE_NOISE_MAX && x[i] <= HE_NOISE_MAX);
			sum += x[i];
			square += (double)x[i] * x[i];
			fourth += pow(x[i], 4);
		}
		he_ternary(rng, x, HE_N_MAX);
		for (size_t i = 0; i < HE_N_MAX; i++) {
			assert_true(x[i] >= -1 && x[i] <= 1);
			count[x[i] + 1]++;
		}
	}
	assert_true(fabs(sum / n) < 5 * sqrt(HE_NOISE_VARIANCE / n));
	assert_true(fabs(square / n - HE_NOISE_VARIANCE) < 0.2);
	assert_true(fabs(fourth / n / (HE_NOISE_VARIANCE * HE_NOISE_VARIANCE) - (3 - 2.0 / 42)) <
		    0.15); /* 3 - 2/n of a binomial of n trials */
	for (int i = 0; i < 3; i++)
		assert_true(fabs(count[i] - n / 3) < 5 * sqrt(n * 2 / 9));
	he_rng_free(rng);
}

/* Words of the stream, lower 26 bits, skipping those >= q. */
static void uniform(void **ctx)
{
	const struct he_params *p = he_params(HE_L);
	static uint32_t x[HE_LIMBS_MAX * HE_N_MAX], stream[HE_N_MAX * 2];
	struct prg *half = prg_new((const uint8_t *)"a public seed of thirty-two byte", PRG_HE_HALF, &e);

	he_uniform(half, 5, p, 4, x);
	for (unsigned l = 0; l < 4; l++) {
		size_t at = 0;

		prg_read(half, 5, (uint64_t)l << 32, stream, sizeof(stream));
		for (size_t i = 0; at < p->n; i++)
			if ((stream[i] & 0x3ffffff) < p->limb[l].q)
				assert_int_equal(x[l * p->n + at++], stream[i] & 0x3ffffff);
	}
	prg_free(half);
}

static void hostile(void **ctx)
{
	struct party t = party_of(HE_L, 1);
	size_t bytes = he_public_bytes(HE_L), word = 26 * 4096 / 8;
	uint8_t *in = malloc(bytes);
	struct he_public *pk;

	assert_int_equal(bytes, 32 + 4 * 4096 * 26 / 8);
	assert_int_equal(he_public_bytes(HE_S), 32 + 2 * 2048 * 26 / 8 + 32 + 1024 * 26 / 8);
	assert_int_equal(he_cipher_bytes(t.p, 27), 4096 * 27 / 8);
	memcpy(in, t.public, bytes);
	assert_int_equal(he_public_new(&pk, HE_L, in, bytes - 1, &e), -1);
	assert_int_equal(he_public_new(&pk, HE_S, in, bytes, &e), -1);
	assert_int_equal(he_public_new(&pk, HE_L, in, 0, &e), -1);
	memset(in + 32 + 13 * 1000, 0xff, 4); /* one word of 26 ones */
	e = (struct err){0};
	assert_int_equal(he_public_new(&pk, HE_L, in, bytes, &e), -1);
	assert_null(pk);
	assert_int_equal(e.code, ERR_PEER);
	for (unsigned l = 0; l < 4; l++) {
		memset(in, 0, bytes);
		for (int i = 0; i < 4; i++) /* the word at the end of prime l is q, then q - 1 */
			in[32 + (l + 1) * word - 4 + (size_t)i] =
			    (uint8_t)((uint64_t)t.p->limb[l].q << 6 >> (8 * i));
		assert_int_equal(he_public_new(&pk, HE_L, in, bytes, &e), -1);
		for (int i = 0; i < 4; i++)
			in[32 + (l + 1) * word - 4 + (size_t)i] =
			    (uint8_t)((uint64_t)(t.p->limb[l].q - 1) << 6 >> (8 * i));
		assert_int_equal(he_public_new(&pk, HE_L, in, bytes, &e), 0);
		he_public_free(pk);
	}
	free(in);
	leave(&t);
}

/* The second ring's half of a key is read as strictly. */
static void hostile_small(void **ctx)
{
	struct party t = party_of(HE_S, 1);
	size_t bytes = he_public_bytes(HE_S);
	struct he_public *pk;

	memset(t.public + bytes - 8, 0xff, 8);
	e = (struct err){0};
	assert_int_equal(he_public_new(&pk, HE_S, t.public, bytes, &e), -1);
	assert_null(pk);
	assert_int_equal(e.code, ERR_PEER);
	leave(&t);
}

/* One key, one ciphertext, one answer from fixed seeds: the same bytes on every machine and at every tier. */
static void digests(void **ctx)
{
	static const char *const want[HE_SETS] = {"df4d3210a0c37df946fa748af4c84828",
						  "ce5ba277d01149ea17f267740458f4a4"};
	char hex[65];

	for (int tier = 0; tier <= (int)cpu_best(); tier++)
		for (int set = 0; set < HE_SETS; set++) {
			struct party t;
			const struct he_params *p = he_params(set);
			size_t bytes = he_cipher_bytes(p, 35), n = p->n;
			uint8_t *sent = malloc(bytes), digest[32];
			uint64_t *m = calloc(3 * n, 8);
			uint32_t *c[3] = {poly(p), poly(p), poly(p)};
			struct prg *half =
			    prg_new((const uint8_t *)"a public seed of thirty-two byte", PRG_HE_HALF, &e);
			crypto_generichash_state h;

			assert_int_equal(cpu_select(cpu_name(tier), &e), 0);
			t = party_of(set, 1);
			for (size_t i = 0; i < n; i++)
				m[i] = i * i;
			he_encrypt(t.ring, t.rng, half, 3, 2, 30, 35, m, t.work, sent);
			he_cipher_read(p, 2, 35, sent, half, 3, t.work, c[0], c[1]);
			he_weights(p, 2, (const int64_t *)m, c[2]);
			/* the party's own key has a seed of the system: take a fixed one */
			he_public_free(t.pk);
			memset(t.public, 7, he_public_bytes(set));
			for (size_t i = 32; i < he_public_bytes(set); i++)
				t.public[i] = (uint8_t)(i % 64);
			assert_int_equal(he_public_new(&t.pk, set, t.public, he_public_bytes(set), &e), 0);
			he_answer(t.pk, t.rng, 2, (const uint32_t *const *)&c[0],
				  (const uint32_t *const *)&c[1], (const uint32_t *const *)&c[2], 1, NULL, 34,
				  2, t.work, m + n, m + 2 * n);
			crypto_generichash_init(&h, NULL, 0, sizeof(digest));
			crypto_generichash_update(&h, sent, bytes);
			crypto_generichash_update(&h, (uint8_t *)(m + n), 16 * n);
			crypto_generichash_final(&h, digest, sizeof(digest));
			sodium_bin2hex(hex, sizeof(hex), digest, 16);
			assert_string_equal(hex, want[set]);
			prg_free(half);
			free(m);
			free(sent);
			for (int i = 0; i < 3; i++)
				free(c[i]);
			leave(&t);
		}
	assert_int_equal(cpu_select("auto", &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(answers),	     cmocka_unit_test(nothing), cmocka_unit_test(rerandomised),
	    cmocka_unit_test(distributions), cmocka_unit_test(uniform), cmocka_unit_test(hostile),
	    cmocka_unit_test(hostile_small), cmocka_unit_test(digests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
