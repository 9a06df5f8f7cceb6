/** Evaluation in the formats of AlpacaEval 2, MT-bench, Vicuna and BELLE. Nothing is here yet. */
package org.rlhf4j.eval;
