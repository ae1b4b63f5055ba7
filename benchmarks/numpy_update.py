"""One KL-constrained linear-Gaussian controller update in optimised NumPy and LAPACK.

Problem and letters are those of `eigen/update.cpp`: minimise E_p[sum_t l] - alpha sum_t E[H] subject to
sum_t E KL(p || pbar) <= bound, by a search over eta. Each evaluation of the search solves a maximum-entropy LQR problem
with cost l - eta log pbar and temperature eta + alpha. Only the two recursions loop over t, with as few calls as
possible; the rest is batched over t.

Linear terms are an additional column: the columns of a row block are [x, 1, u], so that one product gives
[F'VF, F'(v + Vc)], one solve [K, k], and one update [V, v].
"""

import math
import time

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs

from benchmarks.problems import STATUS, Update, check_search

# The constants of the search; eigen/update.cpp has the same ones.
ETA_SMALLEST, ETA_LARGEST = 1e-8, 1e16
FIRST_SLOPE = -0.7  # d log KL / d log eta until it is measured: -2 at large eta, -0.1 at small
LARGEST_STEP = math.log(1e3)  # the largest step in log eta
MOST_EVALUATIONS = 60


def update(problem, bound, alpha=0.0, eta0=1.0, tolerance=1e-3):
    """Return the `Update` of an `LQRProblem`; `bound` is in nats, summed over the horizon."""
    check_search(bound, alpha, eta0, tolerance)
    evaluator = Evaluator(problem, alpha)
    eta, kl, evaluations, status = search(evaluator, bound, alpha, eta0, tolerance)
    return Update(evaluator.K, evaluator.k, evaluator.Sigma, eta, kl, evaluations, STATUS[status])


def time_update(problem, bound, alpha=0.0, eta0=1.0, tolerance=1e-3, repeats=20, warm_up=2):
    """Return the median seconds of one `update` over `repeats` calls."""
    seconds = []
    for _ in range(warm_up + repeats):
        start = time.perf_counter()
        update(problem, bound, alpha, eta0, tolerance)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds[warm_up:]))


def evaluate(problem, eta, alpha=0.0):
    """Return K, k, Sigma and the KL at a given eta; the KL is infinite if a Quu is not positive definite."""
    evaluator = Evaluator(problem, alpha)
    kl = evaluator(eta)
    return evaluator.K, evaluator.k, evaluator.Sigma, kl


class Evaluator:
    """KL(eta) of one problem; K (T, du, dx), k (T, du) and Sigma (T, du, du) are the controller of the last call."""

    def __init__(self, problem, alpha):
        p = self.problem = problem
        T, dx, du = p.T, p.dx, p.du
        self.alpha = alpha
        self.Kk = np.empty((T, du, dx + 1))
        self.Sigma = np.empty((T, du, du))
        self.diagonal = np.empty((T, du))  # of chol(Quu)
        A, B = p.F[..., :dx], p.F[..., dx:]
        self.A, self.B = np.ascontiguousarray(A), np.ascontiguousarray(B)
        self.F1 = np.concatenate([A, p.c[..., None], B], axis=-1)  # (T-1, dx, dz+1)
        self.Ft = p.F.transpose(0, 2, 1)
        self.C1 = np.concatenate([p.C[..., :dx], p.g[..., None], p.C[..., dx:]], axis=-1)  # (T, dz, dz+1)

        # -log pbar: [[K'PK, -K'P], [-PK, P]] and [K'Pk; -Pk]
        L = np.linalg.cholesky(p.Sigma)
        self.logdet_prev = 2.0 * np.log(np.diagonal(L, axis1=-2, axis2=-1)).sum()
        L_inverse = np.linalg.inv(L)
        self.P = P = L_inverse.transpose(0, 2, 1) @ L_inverse
        PK1 = P @ np.concatenate([p.K, p.k[..., None]], axis=-1)
        self.H1 = np.empty_like(self.C1)
        self.H1[:, dx:, : dx + 1] = -PK1
        self.H1[:, dx:, dx + 1 :] = P
        np.matmul(p.K.transpose(0, 2, 1), PK1, out=self.H1[:, :dx, : dx + 1])
        self.H1[:, :dx, dx + 1 :] = -PK1[..., :dx].transpose(0, 2, 1)

    @property
    def K(self):
        return np.ascontiguousarray(self.Kk[..., :-1])

    @property
    def k(self):
        return np.ascontiguousarray(self.Kk[..., -1])

    def __call__(self, eta):
        temperature = eta + self.alpha
        if not (temperature > 0 and self._backward(eta)):
            return math.inf
        self.Sigma *= temperature
        kl = self._forward(temperature)
        return kl if math.isfinite(kl) else math.inf

    def _backward(self, eta):
        """Fill Kk, Sigma (without its temperature) and diagonal; return False if a Quu is not PD."""
        dx, du, T = self.problem.dx, self.problem.du, self.problem.T
        Q1 = eta * self.H1
        Q1 += self.C1
        VF = np.empty((dx, dx + du + 1))
        FVF = np.empty((dx + du, dx + du + 1))
        v_column = VF[:, dx]
        F1, Ft, Kk, Sigma, diagonal = self.F1, self.Ft, self.Kk, self.Sigma, self.diagonal
        V1 = np.empty((dx, dx + 1))
        V = v = None
        for t in range(T - 1, -1, -1):
            Q = Q1[t]
            if t < T - 1:
                np.dot(V, F1[t], out=VF)  # [VA, Vc, VB]
                v_column += v
                np.dot(Ft[t], VF, out=FVF)
                Q += FVF
            L, info = dpotrf(Q[dx:, dx + 1 :], lower=1)
            if info:
                return False
            Qu1 = Q[dx:, : dx + 1]
            solved, _ = dpotrs(L, Qu1, lower=1)
            step = Kk[t]
            np.negative(solved, out=step)  # [K, k] = -Quu^-1 [Qux, qu]
            Sigma[t], _ = dpotri(L, lower=1)
            diagonal[t] = L.diagonal()
            np.dot(Q[:dx, dx + 1 :], step, out=V1)
            V1 += Q[:dx, : dx + 1]
            V = V1[:, :dx] + V1[:, :dx].T
            V *= 0.5
            v = V1[:, dx]
        lower = np.tril(Sigma)
        np.add(lower, np.tril(Sigma, -1).transpose(0, 2, 1), out=Sigma)
        return True

    def _forward(self, temperature):
        """Return sum_t E KL(p || pbar), with the marginals (m, M) of x from the recursion over t."""
        p, P = self.problem, self.P
        T, dx, du = p.T, p.dx, p.du
        K, k = self.Kk[..., :dx], self.Kk[..., dx]
        BK = self.B @ self.Kk[:-1]
        closed = self.A + BK[..., :dx]
        closed_t = closed.transpose(0, 2, 1)
        drift = BK[..., dx] + p.c
        noise = self.B @ self.Sigma[:-1] @ self.B.transpose(0, 2, 1)
        noise += p.W
        m, M = np.empty((T, dx)), np.empty((T, dx, dx))
        m[0], M[0] = p.initial_mean, p.initial_cov
        product = np.empty((dx, dx))
        for t in range(T - 1):
            step = closed[t]
            np.dot(step, m[t], out=m[t + 1])
            m[t + 1] += drift[t]
            np.dot(step, M[t], out=product)
            np.dot(product, closed_t[t], out=M[t + 1])
            M[t + 1] += noise[t]
        dK = K - p.K
        e = (dK @ m[..., None])[..., 0] + (k - p.k)
        Pe = (P @ e[..., None])[..., 0]
        total = np.vdot(P, self.Sigma) + np.vdot(e, Pe) + np.vdot(P @ dK, dK @ M)
        logdet = T * du * math.log(temperature) - 2.0 * np.log(self.diagonal).sum()
        return float(0.5 * (total - T * du + self.logdet_prev - logdet))


def search(evaluate, bound, alpha, eta0, tolerance):
    """Search eta by a safeguarded secant on (log eta, log KL); return eta, KL, evaluations and the index of the status.

    KL(eta) is close to a power law. The search keeps a bracket: an eta with KL above the bound, or without a
    controller, raises its lower end. The last call of `evaluate` has the eta that is returned.
    """
    floor, ceiling, target = math.log(ETA_SMALLEST), math.log(ETA_LARGEST), math.log(bound)
    low, high = -math.inf, math.inf
    x = min(max(math.log(eta0), floor), ceiling)
    last, slope, evaluations = None, FIRST_SLOPE, 0
    while True:
        eta = math.exp(x) if x > floor else (0.0 if alpha > 0 else ETA_SMALLEST)
        kl = evaluate(eta)
        evaluations += 1
        if abs(kl / bound - 1.0) <= tolerance:
            return eta, kl, evaluations, 0
        if kl <= bound and x <= floor:
            return eta, kl, evaluations, 1
        if kl > bound and x >= ceiling:
            return eta, kl, evaluations, 3
        width_before = high - low
        if kl > bound:
            low = x
        else:
            high = x
        if math.isinf(kl):
            proposal = x + 0.5 * LARGEST_STEP
        else:
            y = math.log(max(kl, 1e-300)) - target
            if last is not None and last[0] != x:
                measured = (y - last[1]) / (x - last[0])
                slope = measured if measured < -1e-3 else FIRST_SLOPE
            last = x, y
            proposal = x - min(max(y / slope, -LARGEST_STEP), LARGEST_STEP)
        if math.isfinite(low) and math.isfinite(high):
            slow = evaluations > 8 and high - low > 0.5 * width_before
            if slow or not low < proposal < high:
                proposal = 0.5 * (low + high)
        if evaluations >= MOST_EVALUATIONS or proposal == x:
            break
        x = min(max(proposal, floor), ceiling)
    if math.isinf(high):
        return eta, kl, evaluations, 3
    eta = math.exp(high)  # the best feasible one found
    return eta, evaluate(eta), evaluations + 1, 2
