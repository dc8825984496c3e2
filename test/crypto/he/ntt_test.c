/* SPDX-License-Identifier: Apache-2.0 */
/* The transform against schoolbook negacyclic products; every row against plain C, with canaries;
 * literals. */
#include "test/test.h"

#include "crypto/he/ntt.h"

static uint64_t state;

static const struct he_row *const rows[] = {
    &he_row_plain,
#if defined(__x86_64__)
    &he_row_avx2,
    &he_row_avx512,
#endif
};
#define ROWS (sizeof(rows) / sizeof(*rows))

static uint32_t buffer[6][HE_N_MAX + 32] __attribute__((aligned(64)));

static void draw(uint32_t *x, size_t n, uint32_t q)
{
	for (size_t i = 0; i < n; i++)
		x[i] = test_random(&state) % q;
}

/* S, L, and the smaller ring of S. */
static const struct he_params *ring(int s)
{
	return s < HE_SETS ? he_params(s) : he_params(HE_S)->small;
}

static void each_limb(void (*test)(const struct he_params *, const struct he_limb *, const struct he_row *))
{
	for (int s = 0; s <= HE_SETS; s++)
		for (unsigned i = 0; i < ring(s)->primes; i++)
			for (size_t r = 0; r < ROWS; r++)
				if (rows[r]->tier <= cpu_best())
					test(ring(s), &ring(s)->limb[i], rows[r]);
}

static void primes(void **ctx)
{
	for (int s = 0; s <= HE_SETS; s++) {
		const struct he_params *p = ring(s);

		assert_int_equal(p->n, 1 << p->log_n);
		for (unsigned i = 0; i < p->primes; i++) {
			uint32_t q = p->limb[i].q;

			assert_true(q < 1u << HE_WORD_BITS && q % (2 * p->n) == 1);
			for (uint32_t d = 2; d * d <= q; d++)
				assert_true(q % d);
			for (unsigned j = 0; j < i; j++)
				assert_true(q != p->limb[j].q);
		}
		/* the limits of homomorphicencryption.org for 128 bits, ternary secret */
		assert_true(he_modulus_bits(p, p->limbs) < (p->n == 1024 ? 27 : p->n == 2048 ? 54 : 109));
	}
}

static void words(void **ctx)
{
	const struct he_limb *l = &he_params(HE_L)->limb[2];
	static const int64_t edges[] = {0, 1, -1, INT64_MAX, INT64_MIN, INT64_MIN + 1};

	for (int i = 0; i < 20000; i++) {
		uint64_t x = test_random(&state) >> test_random(&state) % 64;
		int64_t y = i < 6 ? edges[i] : (int64_t)test_random(&state) >> test_random(&state) % 64;
		uint32_t a = test_random(&state) % l->q, b = test_random(&state) % l->q;

		assert_int_equal(he_mod(x, l), x % l->q);
		assert_int_equal(he_mod_signed(y, l), (uint32_t)((y % (int64_t)l->q + l->q) % l->q));
		assert_int_equal(he_add(a, b, l), ((uint64_t)a + b) % l->q);
		assert_int_equal(he_sub(a, b, l), ((uint64_t)a + l->q - b) % l->q);
		assert_int_equal((uint64_t)he_mul(a, b, l) * l->one % l->q, (uint64_t)a * b % l->q);
	}
	assert_int_equal(he_mod_signed(-(int64_t)l->q * 12345, l), 0);
	assert_int_equal(he_mod(UINT64_MAX, l), UINT64_MAX % l->q);
}

/* X^n = -1 */
static void schoolbook(uint32_t *out, const uint32_t *a, const uint32_t *b, size_t n, uint32_t q)
{
	for (size_t k = 0; k < n; k++) {
		unsigned __int128 sum = 0;

		for (size_t i = 0; i < n; i++) {
			uint64_t x = (uint64_t)a[i] * b[(k + n - i) % n] % q;

			sum += i <= k || !x ? x : q - x;
		}
		out[k] = sum % q;
	}
}

static void product(const struct he_params *p, const struct he_limb *l, const struct he_row *row)
{
	uint32_t *a = buffer[0], *b = buffer[1], *want = buffer[2], *out = buffer[3];
	const uint32_t *const x[] = {a}, *const y[] = {b};

	draw(a, p->n, l->q);
	draw(b, p->n, l->q);
	schoolbook(want, a, b, p->n, l->q);
	row->forward(l, a, p->n);
	row->forward(l, b, p->n);
	for (size_t i = 0; i < p->n; i++)
		b[i] = he_mul(b[i], l->square, l);
	row->dot(l, out, x, y, 1, p->n);
	row->inverse(l, out, p->n);
	assert_memory_equal(out, want, p->n * 4);
}

static void products(void **ctx)
{
	each_limb(product);
}

/* Word i of a transform is the polynomial's value at ψ^(2 bitrev(i) + 1). */
static void values(void **ctx)
{
	const struct he_params *p = he_params(HE_S);
	const struct he_limb *l = &p->limb[0];
	uint32_t *a = buffer[0], *x = buffer[1];

	draw(a, p->n, l->q);
	memcpy(x, a, p->n * 4);
	he_row()->forward(l, x, p->n);
	for (size_t i = 0; i < p->n; i += 97) {
		size_t e = 0;
		uint64_t root, sum = 0;

		for (unsigned b = 0; b < p->log_n; b++)
			e |= (i >> b & 1) << (p->log_n - b); /* 2 bitrev(i) */
		root = he_mul(he_power(l->w[p->n / 2], e + 1, l), 1, l);
		for (size_t j = p->n; j-- > 0;)
			sum = (sum * root + a[j]) % l->q;
		assert_int_equal(x[i], sum);
	}
}

/* The least 2N-th roots of -1, as other libraries find them (SEAL's try_minimal_primitive_root). */
static void roots(void **ctx)
{
	for (int s = 0; s < HE_SETS; s++)
		for (unsigned i = 0; i < he_params(s)->limbs; i++) {
			const struct he_limb *l = &he_params(s)->limb[i];
			size_t n = he_params(s)->n;
			uint64_t psi = he_mul(l->w[n / 2], 1, l), x = psi, square = psi * psi % l->q;

			for (size_t j = 0; j < n; j++, x = x * square % l->q)
				assert_true(x >= psi);
			assert_int_equal(x, psi); /* of order 2N */
			assert_int_equal(he_power(l->w[n / 2], n, l), l->q - l->one);
		}
}

/* n = 4, q = 113, ψ = 18: 18^2 = 98, 18^4 = 112 = -1. */
static void literal(void **ctx)
{
	static const uint32_t psi[4] = {1, 98, 18, 69}; /* ψ^bitrev: 0, 2, 1, 3 */
	struct he_limb l = {.q = 113, .inverse = 113, .one = (UINT64_C(1) << 32) % 113};
	uint32_t w[4], wq[4], iw[4], iwq[4], x[4] = {94, 109, 11, 18}, back[4];

	for (int i = 0; i < 5; i++)
		l.inverse *= 2 - 113 * l.inverse;
	for (int i = 0; i < 4; i++) {
		uint32_t inverse = 1;

		while (psi[i] * inverse % 113 != 1)
			inverse++;
		w[i] = (uint64_t)psi[i] * l.one % 113;
		iw[i] = (uint64_t)inverse * l.one % 113;
		wq[i] = w[i] * l.inverse;
		iwq[i] = iw[i] * l.inverse;
	}
	l.w = w, l.wq = wq, l.iw = iw, l.iwq = iwq;
	l.last = (uint64_t)85 * l.one % 113; /* 4 · 85 = 340 = 1 + 3 · 113 */
	l.last_w = he_mul(l.last, iw[1], &l);
	l.last_q = l.last * l.inverse;
	l.last_wq = l.last_w * l.inverse;
	memcpy(back, x, sizeof(x));
	he_row_plain.forward(&l, x, 4);
	assert_int_equal(x[0], (94 + 109 * 18 + 11 * 98 + 18 * (18 * 98 % 113)) % 113);
	he_row_plain.inverse(&l, x, 4);
	assert_memory_equal(x, back, sizeof(x));
}

static void same(const struct he_params *p, const struct he_limb *l, const struct he_row *row)
{
	uint32_t *x = buffer[0], *want = buffer[1];

	for (int kind = 0; kind < 4; kind++)
		for (int back = 0; back < 2; back++) {
			draw(x, p->n, l->q);
			for (size_t i = 0; kind && i < p->n; i++)
				x[i] = kind == 1 ? l->q - 1 : kind == 2 ? 0 : i & 1 ? l->q - 1 : 0;
			memset(x + p->n, 0x5a, 64);
			memcpy(want, x, p->n * 4);
			(back ? row->inverse : row->forward)(l, x, p->n);
			(back ? he_row_plain.inverse : he_row_plain.forward)(l, want, p->n);
			assert_memory_equal(x, want, p->n * 4);
			for (int i = 0; i < 16; i++)
				assert_int_equal(x[p->n + i], 0x5a5a5a5a);
			(back ? row->forward : row->inverse)(l, x, p->n);
			if (kind == 1)
				assert_int_equal(x[0], l->q - 1);
		}
}

static void rows_agree(void **ctx)
{
	each_limb(same);
}

static void sum(const struct he_params *p, const struct he_limb *l, const struct he_row *row)
{
	static const size_t counts[] = {
	    0, 1, 2, 3, 17, HE_DOT_FOLD - 1, HE_DOT_FOLD, HE_DOT_FOLD + 1, 2 * HE_DOT_FOLD + 40};
	const uint32_t **a = calloc(2 * 2 * HE_DOT_FOLD + 80, sizeof(*a)), **b = a + 2 * HE_DOT_FOLD + 40;

	for (size_t c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		draw(buffer[0], p->n, l->q);
		draw(buffer[1], p->n, l->q);
		for (size_t i = 0; i < p->n; i += 5)
			buffer[0][i] = buffer[1][i] = l->q - 1;
		for (size_t j = 0; j < counts[c]; j++) {
			a[j] = buffer[0] + j % 3 * 16;
			b[j] = buffer[1] + j % 5 * 16;
		}
		memset(buffer[2], 0x5a, sizeof(buffer[2]));
		row->dot(l, buffer[2], a, b, counts[c], p->n - 96);
		for (size_t i = 0; i < p->n - 96; i += 7) {
			uint64_t want = 0;

			for (size_t j = 0; j < counts[c]; j++)
				want = (want + (uint64_t)a[j][i] * b[j][i]) % l->q;
			assert_int_equal((uint64_t)buffer[2][i] * l->one % l->q, want);
			assert_true(buffer[2][i] < l->q);
		}
		assert_int_equal(buffer[2][p->n - 96], 0x5a5a5a5a);
	}
	free(a);
}

static void sums(void **ctx)
{
	each_limb(sum);
}

static void adoption(void **ctx)
{
	struct err e = {0};

	for (size_t r = 0; r < ROWS; r++)
		if (rows[r]->tier <= cpu_best())
			assert_true(he_row_is_right(rows[r]));
	for (int t = 0; t <= (int)cpu_best(); t++) {
		assert_int_equal(cpu_select(cpu_name(t), &e), 0);
		assert_int_equal(he_row()->tier, t);
	}
	assert_int_equal(cpu_select("auto", &e), 0);
}

static void wrong_forward(const struct he_limb *l, uint32_t *x, size_t n)
{
	he_row_plain.forward(l, x, n);
	x[n - 1] ^= 1;
}

static void a_wrong_row_is_not_adopted(void **ctx)
{
	struct he_row row = he_row_plain;

	row.forward = wrong_forward;
	assert_false(he_row_is_right(&row));
	assert_true(he_row_is_right(&he_row_plain));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(primes),	  cmocka_unit_test(words),
	    cmocka_unit_test(roots),	  cmocka_unit_test(literal),
	    cmocka_unit_test(values),	  cmocka_unit_test(products),
	    cmocka_unit_test(rows_agree), cmocka_unit_test(sums),
	    cmocka_unit_test(adoption),	  cmocka_unit_test(a_wrong_row_is_not_adopted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
